"""FedEx-LoRA: mean factors, and the residual carried beside them."""

import pytest
import torch
from updates import MODULES, a_of, b_of, no_room, pair, random_params, random_updates, room, update

from fedtailor.aggregation import FedAvg, FedExLora
from fedtailor.errors import SettingError


def test_the_residual_by_hand():
    # rank 1: (B, A) = (1, 1) and (3, 3), alike in weight: mean of products 5, product of means 2 * 2; at alpha / rank 2 the residual is 2
    params = room(pair([[0.0]], [[0.0]]), 1)
    updates = [update(pair([[v]], [[v]]), client=str(v), scale={"m": 2.0}) for v in (1.0, 3.0)]
    outcome = FedExLora().combine(updates, params, {})
    assert (outcome.shared[b_of("m")].item(), outcome.shared[a_of("m")].item()) == (2.0, 2.0)
    carried = outcome.shared["m.carried_B.weight"] @ outcome.shared["m.carried_A.weight"]
    assert carried.item() == pytest.approx(2.0)
    # a second round of the same residual adds to it
    again = [update(pair([[v]], [[v]]), client=str(v), scale={"m": 2.0}) for v in (-1.0, 1.0)]
    outcome = FedExLora().combine(again, outcome.shared, {})
    carried = outcome.shared["m.carried_B.weight"] @ outcome.shared["m.carried_A.weight"]
    assert carried.item() == pytest.approx(4.0)
    assert outcome.figures["carry_error"] == pytest.approx(0.0, abs=1e-12)


def test_the_trained_factors_are_those_of_the_mean():
    params = random_params(carry=6)
    updates = random_updates(params, 3, trains=FedExLora().trains(1))
    plain = FedAvg().combine(updates, no_room(params), {})
    shared = FedExLora().combine(updates, params, {}).shared
    assert all(torch.equal(shared[name], value) for name, value in plain.shared.items())
    assert not any(torch.equal(shared[f"{m}.carried_B.weight"], params[f"{m}.carried_B.weight"]) for m in MODULES)


def test_clients_that_agree_leave_nothing_to_carry():
    params = room(pair([[0.0], [0.0]], [[1.0, 0.0]]), 3)
    updates = [update(pair([[1.0], [2.0]], [[0.5, 0.5]]), client=c) for c in "ab"]
    outcome = FedExLora().combine(updates, params, {})
    assert outcome.shared["m.carried_B.weight"].abs().max() == 0
    assert outcome.figures == {"bias": 0.0, "carry_error": 0.0}


def test_without_room_it_is_refused():
    with pytest.raises(SettingError, match="fedex-lora carries a frozen factor"):
        FedExLora().init(random_params())
