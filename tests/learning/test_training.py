"""The optimizer of local training: one learning rate, and another one for a classifier's head."""

import torch
from torch import nn

from fedtailor.learning.local import LocalTraining
from fedtailor.learning.training import make_optimizer, set_rate


def stepped(settings, rate):
    """Return two weights of zero after a step along gradients of one."""
    params = {name: nn.Parameter(torch.zeros(1)) for name in ("body", "classifier.bias")}
    engine = make_optimizer(params, settings, heads={"classifier.bias"})
    for param in params.values():
        param.grad = torch.ones(1)
    set_rate(engine, rate)
    engine.step()
    return [round(param.item(), 6) for param in params.values()], len(engine.param_groups)


def test_a_head_steps_by_its_own_rate_and_follows_warm_up():
    settings = LocalTraining(optimizer="sgd", learning_rate=0.1, head_learning_rate=0.5)
    assert stepped(settings, 0.1) == ([-0.1, -0.5], 2)
    assert stepped(LocalTraining(optimizer="sgd", learning_rate=0.5, head_learning_rate=1), 0.5) == (
        [-0.5, -1.0],
        2,
    )  # a whole number
    assert stepped(settings, 0.05) == ([-0.05, -0.25], 2)  # half of both, as warm-up and schedules have it


def test_without_one_there_is_a_single_group_as_ever():
    assert stepped(LocalTraining(optimizer="sgd", learning_rate=0.1, head_learning_rate=None), 0.1) == ([-0.1, -0.1], 1)
    assert stepped(LocalTraining(optimizer="sgd", learning_rate=0.1), 0.1) == ([-0.1, -0.1], 1)
