"""FedYogi: v moves by the square of the update, towards it."""

import torch
from updates import update

from fedtailor.aggregation import FedYogi


def test_v_falls_and_rises_by_hand():
    # tau = 5, so v starts at 25; beta1 = beta2 = 0; D = (1 * 1 + 3 * 5) / 4 = 4 in both rounds.
    # round 1: D^2 = 16 < 25, v = 25 - 16 = 9; step 2 * 4 / (3 + 5) = 1
    # round 2: 16 > 9, v = 9 + 16 = 25; step 2 * 4 / (5 + 5) = 0.8
    rule, params = FedYogi(server_learning_rate=2.0, beta1=0.0, beta2=0.0, tau=5.0), {"w": torch.tensor([3.0])}
    updates = [update({"w": [1.0]}, weight=1), update({"w": [5.0]}, weight=3)]
    first = rule.combine(updates, params, rule.init(params))
    second = rule.combine(updates, first.shared, first.state)
    assert first.shared["w"].item() == 4.0
    torch.testing.assert_close(second.shared["w"], torch.tensor([4.8]))
    assert [first.state["v/w"].item(), second.state["v/w"].item()] == [9.0, 25.0]


def test_beta2_keeps_a_share_of_the_way():
    # v = 4 - (1 - 0.75) * 1 * sign(4 - 1) = 3.75
    rule, params = FedYogi(beta2=0.75, tau=2.0), {"w": torch.zeros(1)}
    assert rule.combine([update({"w": [1.0]})], params, rule.init(params)).state["v/w"].item() == 3.75
