"""A step of half the mean."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..interfaces import RuleTraits
from ..limits import Number
from ..records import Outcome, Update
from ..tensors import Tensors, scale
from .factors.held import mean_and_bias
from .mean import take_step


@dataclass(frozen=True, kw_only=True)
class Halfway:
    """Add a share of the weighted mean."""

    kind: Literal["halfway"] = "halfway"
    share: Number = 1.0  # of the mean that is added
    traits: ClassVar[RuleTraits] = RuleTraits(linear=True)

    def init(self, params: Tensors) -> Tensors:
        """Return nothing."""
        return {}

    def trains(self, round: int) -> Callable[[str], bool]:
        """Return that every tensor is trained."""
        return lambda name: True

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + share * mean."""
        mean, figures = mean_and_bias(updates, params)
        return Outcome(shared=take_step(params, scale(mean, self.share)), state=state, figures=figures)
