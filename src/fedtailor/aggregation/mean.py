"""The weighted mean of updates, as one running sum, and the step that is made of it."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ..errors import EmptyRound, SettingError
from ..records import Update
from ..tensors import Lazy, Tensors, check_same_names


def weighted_mean(pairs: Iterable[tuple[Tensors, float]]) -> dict[str, Tensor]:
    """Return sum(weight * tensors) / sum(weight), in float32.

    Each set is added as it arrives and let go before the next is asked for, so that memory holds one sum and one set, however many
    there are. The order of addition is that of the argument: float32 sums do not commute, so callers hand updates over in the
    order of client ids.

    Raises:
        EmptyRound: if nothing arrived.
        ShapeMismatch: if the sets differ in names.
    """
    total: dict[str, Tensor] = {}
    weights = 0.0
    for tensors, weight in pairs:
        if not weight > 0:
            raise SettingError(f"the weight of an update must be above 0; got {weight}")
        if not weights:
            total = {name: value.float() * weight for name, value in tensors.items()}
        else:
            _add_(total, tensors, weight)
        weights += weight
        del tensors  # else it would stay until the next one is here
    if not weights:
        raise EmptyRound("no client sent a usable update in this round; see events.jsonl for the reason of each")
    if total:
        torch._foreach_mul_(list(total.values()), 1 / weights)
    return total


def mean_delta(updates: Iterable[Update]) -> dict[str, Tensor]:
    """Return the weighted mean of the updates' deltas; see `weighted_mean`."""
    return weighted_mean(map(_delta_and_weight, updates))  # a generator expression would hold on to the last update


def take_step(params: Tensors, step: Tensors) -> dict[str, Tensor]:
    """Return params + step in the dtypes of `params`; a tensor that the step does not name stays as it is."""
    return {name: (value + step[name]).to(value.dtype) if name in step else value for name, value in params.items()}


def _add_(total: Tensors, tensors: Tensors, weight: float) -> None:
    """Add weight * tensors to `total` in place: one call into torch for all, as adapters are many small tensors; lazy ones singly."""
    check_same_names(total, tensors)
    if isinstance(tensors, Lazy):
        for name, value in total.items():
            value.add_(tensors[name].float(), alpha=weight)
    elif total:
        torch._foreach_add_(list(total.values()), [tensors[name].float() for name in total], alpha=weight)


def _delta_and_weight(update: Update) -> tuple[Tensors, float]:
    return update.delta, update.weight
