"""Federated averaging.

Source: McMahan et al., 2017, arXiv:1602.05629, algorithm 1. The paper averages weights; we average deltas and add the
mean to what all clients started from, which is the same where all started from the same weights.
With LoRA this is FedIT (Zhang et al., 2023, arXiv:2305.05644): factors are averaged one by one, and the figure `bias` says how
far their product is from the mean of the clients' products.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..interfaces import RuleTraits
from ..records import Outcome, Update
from ..tensors import Tensors
from .factors.held import mean_and_bias
from .mean import take_step
from .stateless import Stateless


@dataclass(frozen=True, kw_only=True)
class FedAvg(Stateless):
    """Add the weighted mean of the updates to the shared weights."""

    kind: Literal["fedavg"] = "fedavg"
    traits: ClassVar[RuleTraits] = RuleTraits(linear=True, plain_mean=True)

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + sum(weight * delta) / sum(weight).

        Raises:
            EmptyRound: if no client answered.
        """
        mean, figures = mean_and_bias(updates, params)
        return Outcome(shared=take_step(params, mean), state=state, figures=figures)
