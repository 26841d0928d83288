"""raFLoRA: each rank's part is averaged over the clients that have it."""

import pytest
import torch
from updates import MODULES, a_of, b_of, pair, random_params, random_updates, update

from fedtailor.aggregation import FlexLora, RaFlora


def test_a_rank_that_one_client_has_is_not_weakened():
    # ranks 2 and 1, alike in weight. Column 0: mean of 4 e1 e1' and 2 e1 e1' is 3 e1 e1'; column 1 is one client's alone: 2 e2 e2' stays,
    # where the mean over both, FlexLoRA's, has 1 e2 e2'
    params = pair([[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    wide = update(pair([[4.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]]), client="wide")
    narrow = update(pair([[2.0], [0.0]], [[1.0, 0.0]]), client="narrow")
    for rule, second in ((RaFlora(), 2.0), (FlexLora(), 1.0)):
        outcome = rule.combine([wide, narrow], params, {})
        torch.testing.assert_close(outcome.shared, pair([[3.0, 0.0], [0.0, second]], [[1.0, 0.0], [0.0, 1.0]]))
    # the mean over both is diag(3, 1): raFLoRA is 1 of sqrt(10) off it, and says so
    assert RaFlora().combine([wide, narrow], params, {}).figures["bias"] == pytest.approx(1 / 10**0.5)


def test_with_equal_ranks_it_is_flexlora():
    params = random_params()
    updates = random_updates(params, 5)
    one, other = (rule.combine(updates, params, {}) for rule in (RaFlora(), FlexLora()))
    for module in MODULES:
        for name in (a_of(module), b_of(module)):
            torch.testing.assert_close(one.shared[name], other.shared[name])


def test_ranks_that_nobody_of_the_round_has_are_empty():
    params = random_params(rank=4)
    updates = random_updates(params, 2, ranks=(1, 2))  # together of rank 3
    shared = RaFlora().combine(updates, params, {}).shared
    for module in MODULES:
        assert shared[b_of(module)][:, 2].abs().max() > 0
        assert shared[b_of(module)][:, 3].abs().max() < 1e-6
