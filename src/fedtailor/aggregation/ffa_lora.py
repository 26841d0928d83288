"""FFA-LoRA: A stays as it was drawn, only B is trained and averaged.

Source: Sun et al., 2024, *Improving LoRA in Privacy-preserving Federated Learning*, arXiv:2403.12313, section 3 (federated freeze A).
With one A for all, sum p (B_k A) = (sum p B_k) A: the mean of factors is exact, and a client sends half as much.
Difference: a classifier's head, which the paper treats as part of the model, is trained and averaged plainly.
Mind: with A fixed, learning rates about ten times larger are usual. The whole adapter is still sent down.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..interfaces import RuleTraits
from ..records import Outcome, Update
from ..tensors import Tensors
from .factors.lowrank import OneScale, is_a
from .mean import mean_delta, take_step
from .stateless import OfFactors


@dataclass(frozen=True, kw_only=True)
class FfaLora(OfFactors):
    """Train and average B alone; A stays as it was drawn from the seed, the same for all."""

    kind: Literal["ffa-lora"] = "ffa-lora"
    traits: ClassVar[RuleTraits] = RuleTraits(linear=True)

    def trains(self, round: int) -> Callable[[str], bool]:
        """Return that all but the factors A are trained, in every round."""
        return lambda name: not is_a(name)

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + the mean of what was sent; A is passed on.

        Raises:
            EmptyRound: if no client answered.
        """
        mean = mean_delta(map(OneScale().check, updates))
        return Outcome(shared=take_step(params, mean), state=state)
