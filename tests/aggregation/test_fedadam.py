"""FedAdam: no correction of the moments for their start."""

import pytest
import torch
from updates import update

from fedtailor.aggregation import FedAdam
from fedtailor.errors import SettingError


def test_two_steps_by_hand():
    # tau = 1, so v starts at 1; all shares are a half.
    # round 1: D = (1 * 1 + 3 * 9) / 4 = 7; m = 3.5, v = (1 + 49) / 2 = 25; step 12 * 3.5 / (5 + 1) = 7
    # round 2: D = (1 * 2 + 3 * 6) / 4 = 5; m = 1.75 + 2.5 = 4.25, v = (25 + 25) / 2 = 25; step 12 * 4.25 / 6 = 8.5
    rule, params = FedAdam(server_learning_rate=12.0, beta1=0.5, beta2=0.5, tau=1.0), {"w": torch.tensor([10.0])}
    first = rule.combine([update({"w": [1.0]}, weight=1), update({"w": [9.0]}, weight=3)], params, rule.init(params))
    second = rule.combine([update({"w": [2.0]}, weight=1), update({"w": [6.0]}, weight=3)], first.shared, first.state)
    assert (first.shared["w"].item(), second.shared["w"].item()) == (17.0, 25.5)


def test_the_first_step_is_not_that_of_torch():
    # torch corrects m / (1 - beta1) and v / (1 - beta2): a first step of about the learning rate, 0.01. Ours has m = 0.1 * 2 and
    # v = 0.99 * 1e-6 + 0.01 * 4, so 0.01 * 0.2 / (0.2 + 0.001), a little less than 0.01: equal by chance of the defaults, so beta2 = 0.9
    rule, params = FedAdam(beta2=0.9), {"w": torch.zeros(1)}
    step = rule.combine([update({"w": [2.0]})], params, rule.init(params)).shared["w"].item()
    assert step == pytest.approx(0.01 * 0.2 / ((0.9e-6 + 0.4) ** 0.5 + 1e-3), rel=1e-5)
    assert step < 0.0035


@pytest.mark.parametrize("bad", [{"server_learning_rate": 0.0}, {"beta1": 1.0}, {"beta2": -0.5}, {"tau": 0.0}])
def test_bad_settings_are_named(bad):
    with pytest.raises(SettingError, match=next(iter(bad))):
        FedAdam(**bad)
