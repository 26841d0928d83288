"""Adagrad at the server, on averaged updates.

Source: Reddi et al., 2021, arXiv:2003.00295, algorithm 2: v <- v + D^2.
Our reading: beta1 = 0 by default, as the paper's experiments have it to our knowledge; its algorithm leaves it open.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from ..limits import LearningRate, Number
from ..records import Outcome, Update
from ..tensors import Tensors
from .adaptive import adaptive_step, check_settings, start


@dataclass(frozen=True, kw_only=True)
class FedAdagrad:
    """Scale each value's mean update by the size of all its updates so far."""

    kind: Literal["fedadagrad"] = "fedadagrad"
    server_learning_rate: LearningRate = 0.01  # of the server, above 0; the step of a value is about this large
    beta1: float = 0.0  # share of the last first moment that is kept, in [0, 1)
    tau: Number = 1e-3  # keeps steps small where updates are small, above 0

    def __post_init__(self) -> None:
        check_settings(server_learning_rate=self.server_learning_rate, beta1=self.beta1, beta2=0.0, tau=self.tau)

    @property
    def linear(self) -> bool:
        return True

    def init(self, params: Tensors) -> Tensors:
        """Return the moments m = 0 and v = tau^2 of every tensor."""
        return start(params, self.tau)

    def trains(self, round: int) -> Callable[[str], bool]:
        """Return that every tensor is trained in every round."""
        return lambda name: True

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + server_learning_rate * m / (sqrt(v) + tau), and the next moments.

        Raises:
            EmptyRound: if no client answered.
        """
        return adaptive_step(
            updates,
            params,
            state,
            server_learning_rate=self.server_learning_rate,
            beta1=self.beta1,
            tau=self.tau,
            second=lambda v, square: v + square,
        )
