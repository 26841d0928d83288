"""FedAdagrad, FedAdam and FedYogi: adaptive steps at the server, on averaged updates.

Source: Reddi et al., 2021, arXiv:2003.00295, algorithm 2:

    m <- beta1 m + (1 - beta1) D          D: the mean of the updates, a pseudo-gradient of opposite sign
    v <- (the one line in which the three differ)
    w <- w + eta m / (sqrt(v) + tau)

beta1 and beta2 are the paper's; it tunes the learning rate and tau. Nothing corrects m and v for their start, as torch's Adam does; v starts
at tau^2, the least that the algorithm allows.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, full_like

from ..errors import SettingError
from ..interfaces import RuleTraits
from ..limits import LearningRate, Number
from ..messages import Record, state_of, tensors_of
from ..messages.record import tensors
from ..records import Outcome, Update
from ..tensors import Tensors, map_tensors, zeros_like
from .factors.held import mean_and_bias
from .mean import take_step


@dataclass(frozen=True, kw_only=True)
class Moments(Record):
    """The state: the moments of each tensor."""

    m: Tensors = tensors(prefix="m/")
    v: Tensors = tensors(prefix="v/")


class _Adaptive(ABC):
    """What the three share: all of algorithm 2 but the line for v. The settings are fields of each."""

    server_learning_rate: LearningRate
    beta1: float
    tau: Number

    traits: ClassVar[RuleTraits] = RuleTraits(linear=True)

    def __post_init__(self) -> None:
        for name in ("server_learning_rate", "tau"):
            if not 0 < (value := getattr(self, name)) < float("inf"):
                raise SettingError(f"{name} is a number above 0; got {value}; 0.001 to 0.01 are usual")
        for name in ("beta1", "beta2"):
            if not 0 <= (value := getattr(self, name, 0.0)) < 1:
                raise SettingError(f"{name} is the share of the last moment that is kept, in [0, 1); got {value}")

    def init(self, params: Tensors) -> Tensors:
        """Return the moments m = 0 and v = tau^2 of every tensor, in float32."""
        zeros = zeros_like(params)
        return tensors_of(Moments(m=zeros, v={name: full_like(zero, self.tau**2) for name, zero in zeros.items()}))

    def trains(self, round: int) -> Callable[[str], bool]:
        """Return that every tensor is trained in every round."""
        return lambda name: True

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + server_learning_rate * m / (sqrt(v) + tau), and the next moments.

        Raises:
            EmptyRound: if no client answered.
        """
        mean, figures = mean_and_bias(updates, params)
        before = state_of(Moments, state)
        m = map_tensors(lambda old, new: self.beta1 * old + (1 - self.beta1) * new, before.m, mean)
        v = map_tensors(lambda old, new: self._second(old, new.square()), before.v, mean)
        step = map_tensors(lambda first, other: self.server_learning_rate * first / (other.sqrt() + self.tau), m, v)
        return Outcome(shared=take_step(params, step), state=tensors_of(Moments(m=m, v=v)), figures=figures)

    @abstractmethod
    def _second(self, v: Tensor, square: Tensor) -> Tensor:
        """Return the next v from the last one and D^2."""


@dataclass(frozen=True, kw_only=True)
class FedAdam(_Adaptive):
    """Scale each value's mean update by the size of its recent updates."""

    kind: Literal["fedadam"] = "fedadam"
    server_learning_rate: LearningRate = 0.01  # of the server, above 0; the step of a value is about this large
    beta1: float = 0.9  # share of the last first moment that is kept, in [0, 1)
    beta2: float = 0.99  # share of the last second moment that is kept, in [0, 1)
    tau: Number = 1e-3  # keeps steps small where updates are small, above 0

    def _second(self, v: Tensor, square: Tensor) -> Tensor:
        return self.beta2 * v + (1 - self.beta2) * square


@dataclass(frozen=True, kw_only=True)
class FedYogi(_Adaptive):
    """As FedAdam, with a second moment that forgets slowly where updates become small."""

    kind: Literal["fedyogi"] = "fedyogi"
    server_learning_rate: LearningRate = 0.01  # of the server, above 0; the step of a value is about this large
    beta1: float = 0.9  # share of the last first moment that is kept, in [0, 1)
    beta2: float = 0.99  # share of the last second moment that is kept, in [0, 1)
    tau: Number = 1e-3  # keeps steps small where updates are small, above 0

    def _second(self, v: Tensor, square: Tensor) -> Tensor:
        return v - (1 - self.beta2) * square * (v - square).sign()


@dataclass(frozen=True, kw_only=True)
class FedAdagrad(_Adaptive):
    """Scale each value's mean update by the size of all its updates so far.

    Our reading: beta1 = 0 by default, as the paper's experiments have it to our knowledge; its algorithm leaves it open.
    """

    kind: Literal["fedadagrad"] = "fedadagrad"
    server_learning_rate: LearningRate = 0.01  # of the server, above 0; the step of a value is about this large
    beta1: float = 0.0  # share of the last first moment that is kept, in [0, 1)
    tau: Number = 1e-3  # keeps steps small where updates are small, above 0

    def _second(self, v: Tensor, square: Tensor) -> Tensor:
        return v + square
