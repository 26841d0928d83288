"""FedAdagrad: v is the sum of all squares."""

import torch
from updates import update

from fedtailor.aggregation import FedAdagrad


def test_two_steps_by_hand():
    # tau = 3, so v starts at 9. D = 4: v = 25, step 8 * 4 / (5 + 3) = 4. D = 12: v = 169, step 8 * 12 / (13 + 3) = 6
    rule, params = FedAdagrad(server_learning_rate=8.0, tau=3.0), {"w": torch.zeros(1)}
    first = rule.combine([update({"w": [1.0]}, weight=1), update({"w": [5.0]}, weight=3)], params, rule.init(params))
    second = rule.combine([update({"w": [12.0]})], first.shared, first.state)
    assert (first.shared["w"].item(), second.shared["w"].item()) == (4.0, 10.0)


def test_torch_agrees():
    rule, params = FedAdagrad(server_learning_rate=0.1, tau=0.01), {"w": torch.tensor([1.0, -2.0])}
    weight = torch.nn.Parameter(params["w"].clone())
    engine, state = torch.optim.Adagrad([weight], lr=0.1, eps=0.01, initial_accumulator_value=1e-4), rule.init(params)
    for delta in ([1.0, 2.0], [-3.0, 0.5], [0.25, 0.25]):
        outcome = rule.combine([update({"w": delta})], params, state)
        params, state = outcome.shared, outcome.state
        weight.grad = -torch.tensor(delta)
        engine.step()
    torch.testing.assert_close(params["w"], weight.detach())
