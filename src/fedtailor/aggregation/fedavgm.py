"""Averaging with server momentum.

Source: Hsu, Qi and Brown, 2019, arXiv:1909.06335, section 4, FedAvgM: v <- beta v + delta, w <- w - v.
The paper's delta is received minus trained and is subtracted; ours is trained minus received and is added. The server's learning
rate is 1 in the paper's algorithm; ours is a setting.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..errors import SettingError
from ..interfaces import RuleTraits
from ..limits import LearningRate
from ..records import Outcome, Update
from ..tensors import Tensors, map_tensors, scale, zeros_like
from .factors.held import mean_and_bias
from .mean import take_step


@dataclass(frozen=True, kw_only=True)
class FedAvgM:
    """Average updates by weight, and smooth the average over rounds."""

    kind: Literal["fedavgm"] = "fedavgm"
    momentum: float = 0.9  # share of the last velocity that is kept, in [0, 1)
    server_learning_rate: LearningRate = 1.0  # share of the velocity that the server adds, above 0
    traits: ClassVar[RuleTraits] = RuleTraits(linear=True)

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise SettingError(f"momentum is the share of velocity kept, in [0, 1); got {self.momentum}")
        if not 0 < self.server_learning_rate < float("inf"):
            raise SettingError(f"server_learning_rate is a number above 0, 1 in the paper; got {self.server_learning_rate}")

    def init(self, params: Tensors) -> Tensors:
        """Return a velocity of float32 zeros, named and shaped as `params`."""
        return zeros_like(params)

    def trains(self, round: int) -> Callable[[str], bool]:
        """Return that every tensor is trained in every round."""
        return lambda name: True

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + server_learning_rate * velocity, and the velocity momentum * state + mean.

        Raises:
            EmptyRound: if no client answered.
        """
        mean, figures = mean_and_bias(updates, params)
        velocity = map_tensors(lambda old, new: self.momentum * old + new, state, mean)
        return Outcome(shared=take_step(params, scale(velocity, self.server_learning_rate)), state=velocity, figures=figures)
