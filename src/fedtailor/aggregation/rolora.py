"""RoLoRA: B and A are trained and averaged in turn.

Source: Chen et al., 2024, arXiv:2409.02346 and 2025, arXiv:2502.01755: alternating rounds. Odd rounds train B with A fixed (at the
start B is zero, so that A would get no gradient), even rounds A with B fixed. In each round one factor is the same for all, so
the mean of the other is exact; a client sends half as much.
Our own reading: a classifier's head is trained in every round. A kept optimizer's moments of the factor that rested start again.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..interfaces import RuleTraits
from ..records import Outcome, Update
from ..tensors import Tensors
from .factors.lowrank import OneScale, is_a, is_b, require_factors
from .mean import mean_delta, take_step


@dataclass(frozen=True, kw_only=True)
class RoLora:
    """Train and average B in odd rounds and A in even ones."""

    kind: Literal["rolora"] = "rolora"
    traits: ClassVar[RuleTraits] = RuleTraits(linear=True, takes_turns=True)

    def init(self, params: Tensors) -> Tensors:
        """Return nothing: which factor is due follows from the round.

        Raises:
            SettingError: if there are no LoRA factors.
        """
        require_factors(params, self.kind)
        return {}

    def trains(self, round: int) -> Callable[[str], bool]:
        """Return that A rests in odd rounds and B in even ones; rounds count from 1."""
        rests = is_a if round % 2 else is_b
        return lambda name: not rests(name)

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + the mean of what was sent; the factor that rested is passed on.

        Raises:
            EmptyRound: if no client answered.
        """
        mean = mean_delta(map(OneScale().check, updates))
        return Outcome(shared=take_step(params, mean), state=state)
