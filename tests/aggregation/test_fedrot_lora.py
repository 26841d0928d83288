"""FedRot-LoRA: alignment before averaging."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from updates import MODULES, a_of, b_of, dense, ideal, pair, random_params, random_updates, trained, update

from fedtailor.aggregation import FedAvg, FedRotLora
from fedtailor.aggregation.fedrot_lora import closest_rotation
from fedtailor.errors import SettingError


def test_factors_of_the_other_sign_do_not_cancel():
    # (2, 3) and (-2, -3) have the same product 6; the plain mean of them is (0, 0)
    params = pair([[2.0]], [[3.0]])
    updates = [update(pair([[0.0]], [[0.0]])), update(pair([[-4.0]], [[-6.0]]))]
    plain = FedAvg().combine(updates, params, {})
    turned = FedRotLora().combine(updates, params, {})
    assert [t.item() for t in plain.shared.values()] == [0.0, 0.0]
    assert [t.item() for t in turned.shared.values()] == pytest.approx([3.0, 2.0])
    assert plain.figures["bias"] == pytest.approx(1.0)
    assert turned.figures["bias"] == pytest.approx(0.0, abs=1e-7)


def test_strength_0_is_plain_averaging():
    params = random_params()
    updates = random_updates(params, 4)
    plain, turned = FedAvg().combine(updates, params, {}), FedRotLora(strength=0.0).combine(updates, params, {})
    torch.testing.assert_close(turned.shared, plain.shared)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 5), st.integers(0, 10**6))
def test_scipy_finds_the_same_rotation(rank, seed):
    params = random_params(rank=rank, seed=seed)
    one = trained(params, random_updates(params, 1, seed=seed + 1)[0])
    module = MODULES[0]
    b, a, shared_b, shared_a = (t[f(module)].double() for t in (one, params) for f in (b_of, a_of))
    rotation = closest_rotation(b.T @ shared_b + a @ shared_a.T)
    want, _ = orthogonal_procrustes(np.vstack([b, a.T]), np.vstack([shared_b, shared_a.T]))
    np.testing.assert_allclose(rotation.numpy(), want, atol=1e-7)


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 1))
def test_a_client_alone_keeps_its_product(strength):
    params = random_params()
    updates = random_updates(params, 1)
    shared = FedRotLora(strength=strength).combine(updates, params, {}).shared
    for module in MODULES:
        torch.testing.assert_close(dense(shared, module), ideal(params, updates, module), rtol=1e-5, atol=1e-5)


def test_turned_clients_come_back():
    # every client has the shared factors, each turned by a rotation of its own: aligned, they agree, and the bias is gone
    params = {name: t for name, t in random_params(rank=3).items() if "lora" in name}
    updates = []
    for seed in range(4):
        turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed)))
        turned = {n: t @ turn if "lora_B" in n else turn.T @ t for n, t in params.items()}
        updates.append(update({n: turned[n] - params[n] for n in params}, weight=seed + 1.0))
    outcome = FedRotLora().combine(updates, params, {})
    torch.testing.assert_close(outcome.shared, params)
    assert outcome.figures["bias"] < 1e-6 < FedAvg().combine(updates, params, {}).figures["bias"]


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_bad_settings_are_named(bad):
    with pytest.raises(SettingError, match="strength"):
        FedRotLora(strength=bad)
