"""LoRA-FAIR: the mean of B corrected towards the mean of the products."""

import pytest
import torch
from updates import MODULES, a_of, b_of, ideal, pair, random_params, random_updates, update

from fedtailor.aggregation import FedAvg, LoraFair
from fedtailor.errors import SettingError


@pytest.mark.parametrize(("ridge", "b", "bias"), [(0.0, 2.5, 0.0), (1.0, 2.4, 0.04)])
def test_a_correction_by_hand(ridge, b, bias):
    # rank 1: (B, A) = (1, 1) and (3, 3): means 2 and 2, mean of products 5, off by 1; dB = 1 * 2 / (2 * 2 + ridge)
    # without ridge 2.5 * 2 = 5; with ridge 1: 2.4 * 2 = 4.8, of which 0.2 / 5 is missing
    params = pair([[0.0]], [[1.0]])
    updates = [update(pair([[1.0]], [[0.0]])), update(pair([[3.0]], [[2.0]]))]
    outcome = LoraFair(ridge=ridge).combine(updates, params, {})
    assert [t.item() for t in outcome.shared.values()] == pytest.approx([2.0, b])
    assert outcome.figures["bias"] == pytest.approx(bias, abs=1e-7)


@pytest.mark.parametrize("clients", [2, 5, 8])
def test_it_solves_the_ridge_problem(clients):
    params, ridge = random_params(), 0.3
    updates = random_updates(params, clients)
    plain = FedAvg().combine(updates, params, {})
    outcome = LoraFair(ridge=ridge).combine(updates, params, {})
    assert outcome.figures["bias"] < plain.figures["bias"]
    for module in MODULES:
        # the same problem as least squares: [A'; sqrt(ridge) I] dB' = [(dW* - Bm Am)'; 0]
        a, b = plain.shared[a_of(module)].double(), plain.shared[b_of(module)].double()
        rows = torch.cat([a.T, ridge**0.5 * torch.eye(len(a)).double()])
        target = torch.cat([(ideal(params, updates, module) - b @ a).T, torch.zeros(len(a), len(b)).double()])
        want = b + torch.linalg.lstsq(rows, target).solution.T
        torch.testing.assert_close(outcome.shared[b_of(module)].double(), want, rtol=1e-5, atol=1e-5)
        assert torch.equal(outcome.shared[a_of(module)], plain.shared[a_of(module)])


@pytest.mark.parametrize("bad", [-0.1, float("inf"), float("nan")])
def test_bad_settings_are_named(bad):
    with pytest.raises(SettingError, match="ridge"):
        LoraFair(ridge=bad)
