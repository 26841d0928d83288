"""Server momentum."""

import pytest
import torch
from updates import update

from fedtailor.aggregation import FedAvgM
from fedtailor.errors import SettingError


@pytest.mark.parametrize(("rate", "want"), [(1.0, (2.0, 5.0)), (0.5, (1.0, 2.5))])
def test_second_step_keeps_half_of_the_first(rate, want):
    # mean (1 * 0.5 + 3 * 2.5) / 4 = 2 in both rounds; velocity: 2, then 0.5 * 2 + 2 = 3; so 0 -> 2 -> 5, or half of it
    updates = [update({"w": [0.5]}, weight=1), update({"w": [2.5]}, weight=3)]
    rule = FedAvgM(momentum=0.5, server_learning_rate=rate)
    start = {"w": torch.zeros(1)}
    first = rule.combine(updates, start, rule.init(start))
    second = rule.combine(updates, first.shared, first.state)
    assert (first.shared["w"].item(), second.shared["w"].item()) == want


def test_torch_agrees():
    rule, params = FedAvgM(momentum=0.9, server_learning_rate=0.1), {"w": torch.tensor([1.0, -2.0])}
    weight = torch.nn.Parameter(params["w"].clone())
    engine, state = torch.optim.SGD([weight], lr=0.1, momentum=0.9), rule.init(params)
    for delta in ([1.0, 2.0], [-3.0, 0.5], [0.25, 0.25]):
        outcome = rule.combine([update({"w": delta})], params, state)
        params, state = outcome.shared, outcome.state
        weight.grad = -torch.tensor(delta)
        engine.step()
    torch.testing.assert_close(params["w"], weight.detach())


@pytest.mark.parametrize(
    "bad", [{"momentum": 1.0}, {"momentum": -0.1}, {"server_learning_rate": 0.0}, {"server_learning_rate": float("inf")}]
)
def test_bad_settings_are_named(bad):
    with pytest.raises(SettingError, match=next(iter(bad))):
        FedAvgM(**bad)
