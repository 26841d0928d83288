"""The median and the trimmed mean of each value by itself.

Source: Yin, Chen, Ramchandran and Bartlett, 2018, arXiv:1803.01498, definitions 1 and 2. Of each value the largest and the smallest of all clients
are trimmed, and the mean of the rest is taken; the median trims all but the middle one, or the middle two.
LoRA factors are taken one by one, as they were sent. Where clients' data differ, the median of each value is far from their mean even without an
attack (docs/results.md).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...errors import SettingError
from ...interfaces import RuleTraits
from ...records import Outcome, Update
from ...tensors import Tensors, pieces
from ..mean import take_step
from .updates import Stateless, Updates, hold

LEAST_SHARE = 1e-6  # one of as many clients as a job can have


@dataclass(frozen=True, kw_only=True)
class Median(Stateless):
    """Take the median of each value."""

    kind: Literal["median"] = "median"
    traits: ClassVar[RuleTraits] = RuleTraits(alike=True, least=3)

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + the median of the deltas, value by value.

        Raises:
            EmptyRound: if fewer than 3 updates came.
        """
        held = hold(updates, params, self.traits)
        return _trimmed(held, cut=(len(held.all) - 1) // 2)


@dataclass(frozen=True, kw_only=True)
class TrimmedMean(Stateless):
    """Take the mean of each value without its largest and smallest ones."""

    kind: Literal["trimmed-mean"] = "trimmed-mean"
    share: float = 0.2  # of a round's clients that is trimmed at each end of each value, below 0.5

    def __post_init__(self) -> None:
        if not LEAST_SHARE <= self.share < 0.5:
            raise SettingError(
                f"share is trimmed at both ends, at least {LEAST_SHARE:g} and below 0.5; got {self.share}; 0.5 is aggregation: median"
            )

    @property
    def traits(self) -> RuleTraits:
        """What the rule does beside averaging; with fewer clients nobody would be trimmed."""
        return RuleTraits(alike=True, least=max(3, math.ceil(1 / self.share - 1e-9)))

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + the trimmed mean of the deltas, value by value.

        Raises:
            EmptyRound: if so few updates came that none would be trimmed.
        """
        held = hold(updates, params, self.traits)
        return _trimmed(held, cut=int(self.share * len(held.all) + 1e-9))


def _trimmed(held: Updates, *, cut: int) -> Outcome:
    """Return params + the mean of each value without `cut` at each end."""
    step: dict[str, Tensor] = {}
    for name, first in held.all[0].delta.items():
        parts = zip(*(pieces(update.delta[name]) for update in held.all), strict=True)
        middles = [torch.stack(part).float().sort(0).values[cut : len(part) - cut].mean(0) for part in parts]
        step[name] = torch.cat([middle.reshape(-1) for middle in middles]).reshape(first.shape)
    return Outcome(shared=take_step(held.params, step))
