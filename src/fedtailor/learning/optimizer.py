"""The optimizer of local training: one learning rate, another one for a classifier's head, and what it remembers, as tensors."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from ..tensors import Tensors, clone
from .local import LocalTraining

FACTOR = "factor"  # of a group of weights in an optimizer: what the learning rate is multiplied by


def make_optimizer(
    params: dict[str, nn.Parameter],
    settings: LocalTraining,
    *,
    heads: Collection[str] = (),
    betas: tuple[float, float] = (0.9, 0.999),
) -> torch.optim.Optimizer:
    """Return torch's optimizer over the trained weights, with nothing remembered.

    Args:
        heads: names of the weights of a classifier's head, which may have a learning rate of their own.
        betas: of AdamW.
    """
    apart = [name for name in params if name in heads and settings.head_factor != 1]
    groups: list[dict[str, Any]] = [
        {"params": [param for name, param in params.items() if (name in apart) == of_head], FACTOR: factor}
        for of_head, factor in ((False, 1.0), (True, settings.head_factor))
    ]
    weights = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            weights, settings.peak_learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
    return torch.optim.AdamW(weights, settings.peak_learning_rate, betas=betas, weight_decay=settings.weight_decay, fused=True)


def set_rate(engine: torch.optim.Optimizer, rate: float) -> None:
    """Let the next step be one of this learning rate, and of its multiple where weights have one of their own."""
    for group in engine.param_groups:
        group["lr"] = rate * group[FACTOR]


def moments_of(engine: torch.optim.Optimizer, params: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """Return what the optimizer remembers, as tensors named "field/weight"."""
    found = {
        f"{field}/{name}": value
        for name, param in params.items()
        for field, value in engine.state.get(param, {}).items()
        if isinstance(value, Tensor)
    }
    return clone(found)


def restore_moments(engine: torch.optim.Optimizer, params: dict[str, nn.Parameter], moments: Tensors) -> None:
    """Let the optimizer continue with what `moments_of` gave; what belongs to no weight in `params` is passed over."""
    for key, value in moments.items():
        field, name = key.split("/", 1)
        if name not in params:  # it rests in this round
            continue
        where = "cpu" if field == "step" else params[name].device
        engine.state[params[name]][field] = value.to(where, copy=True)
