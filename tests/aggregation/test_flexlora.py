"""FlexLoRA: the best adapter of rank r of the mean product."""

import pytest
import torch
from updates import MODULES, dense, ideal, pair, random_params, random_updates, update

from fedtailor.aggregation import FlexLora


def test_the_largest_direction_is_kept_by_hand():
    # products diag(3, 0) and diag(0, 1), alike in weight: mean diag(1.5, 0.5). Rank 1 keeps B = (1.5, 0), A = (1, 0),
    # and loses 0.5 of sqrt(1.5^2 + 0.5^2)
    params = pair([[0.0], [0.0]], [[0.0, 0.0]])
    updates = [update(pair([[3.0], [0.0]], [[1.0, 0.0]])), update(pair([[0.0], [1.0]], [[0.0, 1.0]]))]
    outcome = FlexLora().combine(updates, params, {})
    torch.testing.assert_close(outcome.shared, pair([[1.5], [0.0]], [[1.0, 0.0]]))
    assert outcome.figures["bias"] == pytest.approx(0.5 / 2.5**0.5)


@pytest.mark.parametrize("clients", [2, 3, 8])
@pytest.mark.parametrize("equal", [True, False])
def test_no_adapter_of_the_rank_is_closer(clients, equal):
    params = random_params()
    updates = random_updates(params, clients, equal=equal)
    shared = FlexLora().combine(updates, params, {}).shared
    for module in MODULES:
        u, s, vt = torch.linalg.svd(ideal(params, updates, module), full_matrices=False)
        torch.testing.assert_close(dense(shared, module), u[:, :2] * s[:2] @ vt[:2], rtol=1e-5, atol=1e-5)


def test_the_first_round_may_change_nothing():
    # B is zero at the start; if nobody moved it, B stays zero and A is finite
    params = {name: torch.zeros_like(t) if "lora_B" in name else t for name, t in random_params().items()}
    still = [update({name: torch.zeros(t.shape) for name, t in params.items()})] * 2
    shared = FlexLora().combine(still, params, {}).shared
    assert all(bool(torch.isfinite(t).all()) for t in shared.values())
    assert all(dense(shared, module).abs().max() == 0 for module in MODULES)
