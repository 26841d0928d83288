"""FedAdam, without a correction of the moments for their start; FedYogi, whose v moves towards the square; FedAdagrad, whose v is a sum."""

import pytest
import torch
from updates import update

from fedtailor.aggregation import FedAdagrad, FedAdam, FedYogi
from fedtailor.errors import SettingError


def test_two_steps_of_adam_by_hand():
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


def test_v_of_yogi_falls_and_rises_by_hand():
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


def test_beta2_of_yogi_keeps_a_share_of_the_way():
    # v = 4 - (1 - 0.75) * 1 * sign(4 - 1) = 3.75
    rule, params = FedYogi(beta2=0.75, tau=2.0), {"w": torch.zeros(1)}
    assert rule.combine([update({"w": [1.0]})], params, rule.init(params)).state["v/w"].item() == 3.75


def test_two_steps_of_adagrad_by_hand():
    # tau = 3, so v starts at 9. D = 4: v = 25, step 8 * 4 / (5 + 3) = 4. D = 12: v = 169, step 8 * 12 / (13 + 3) = 6
    rule, params = FedAdagrad(server_learning_rate=8.0, tau=3.0), {"w": torch.zeros(1)}
    first = rule.combine([update({"w": [1.0]}, weight=1), update({"w": [5.0]}, weight=3)], params, rule.init(params))
    second = rule.combine([update({"w": [12.0]})], first.shared, first.state)
    assert (first.shared["w"].item(), second.shared["w"].item()) == (4.0, 10.0)


def test_torch_agrees_with_adagrad():
    rule, params = FedAdagrad(server_learning_rate=0.1, tau=0.01), {"w": torch.tensor([1.0, -2.0])}
    weight = torch.nn.Parameter(params["w"].clone())
    engine, state = torch.optim.Adagrad([weight], lr=0.1, eps=0.01, initial_accumulator_value=1e-4), rule.init(params)
    for delta in ([1.0, 2.0], [-3.0, 0.5], [0.25, 0.25]):
        outcome = rule.combine([update({"w": delta})], params, state)
        params, state = outcome.shared, outcome.state
        weight.grad = -torch.tensor(delta)
        engine.step()
    torch.testing.assert_close(params["w"], weight.detach())
