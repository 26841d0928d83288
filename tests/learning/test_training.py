"""The optimizer of local training: one learning rate, and another one for a classifier's head."""

from functools import partial

import torch
from torch import nn

from fedtailor.learning.descent import Descent
from fedtailor.learning.local import LocalTraining
from fedtailor.learning.optimizer import make_optimizer, set_rate
from fedtailor.learning.work import Trained


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


def test_a_step_says_how_long_its_gradient_was_before_it_was_clipped():
    weight = nn.Parameter(torch.zeros(2))
    settings = LocalTraining(optimizer="sgd", learning_rate=0.1)
    engine = make_optimizer({"w": weight}, settings)
    set_rate(engine, 0.1)
    slope = torch.tensor([3.0, 4.0])  # of the mean over two targets: 1.5 and 2, a norm of 2.5

    def loss_of(rows):
        return (weight * slope).sum(), 1, 2

    step = partial(Descent(params={"w": weight}, engine=engine, loss_of=loss_of).step, [[0]], 0, corrections=())
    assert step(clip_norm=None).norm == 2.5
    torch.testing.assert_close(weight.detach(), torch.tensor([-0.15, -0.2]))
    assert step(clip_norm=0.5).norm == 2.5
    torch.testing.assert_close(weight.detach(), torch.tensor([-0.18, -0.24]))  # a fifth of that step


def test_the_share_of_clipped_steps_is_none_where_nothing_would_be():
    trained = partial(Trained, delta={}, rates=0.0, optimizer={}, losses=[], tokens=1, targets=1)
    assert trained(norms=[0.5, 2.0, 3.0, 1.0], clip_norm=1.0).clipped == 0.5
    assert trained(norms=[0.5, 2.5], clip_norm=None).clipped is None
    assert trained(norms=[0.5, 2.5]).gradient_norm == 1.5
    assert trained().gradient_norm is None
