"""FedSVD: an orthonormal A after each round."""

import torch
from updates import MODULES, a_of, pair, random_params, random_updates, update

from fedtailor.aggregation import FedSvd


def test_b_and_a_by_hand():
    # mean of B: (1 * (1, 0) + 3 * (5, 0)) / 4 = (4, 0); times A = (3, 4), of length 5: A <- (0.6, 0.8), B <- (20, 0)
    params = pair([[0.0], [0.0]], [[3.0, 4.0]])
    updates = [
        update({"m.lora_B.weight": [[1.0], [0.0]]}, weight=1),
        update({"m.lora_B.weight": [[5.0], [0.0]]}, weight=3),
    ]
    torch.testing.assert_close(FedSvd().combine(updates, params, {}).shared, pair([[20.0], [0.0]], [[0.6, 0.8]]))


def test_a_is_orthonormal_and_spans_what_it_did():
    rule, params = FedSvd(), random_params()
    updates = random_updates(params, 3, trains=rule.trains(1))
    shared = rule.combine(updates, params, {}).shared
    for module in MODULES:
        fresh, old = shared[a_of(module)], params[a_of(module)]
        torch.testing.assert_close(fresh @ fresh.T, torch.eye(2), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(old @ fresh.T @ fresh, old, rtol=1e-4, atol=1e-5)  # the subspace stays: see the file
