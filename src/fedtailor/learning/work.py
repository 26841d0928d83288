"""A training as a value: what is to be trained, and what came of it.

What answers at a client asks for its trainings on the way: it yields each, and is given what came of it. So no protocol and no personalization
knows whether trainings are carried out one after the other or several at once.
"""

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TypeAlias, TypeVar

from torch import Tensor, nn

from ..records import ClientId
from ..tasks.shard import Shard
from ..tensors import Tensors
from .local import LocalTraining
from .worker import OnStep, Worker

Correction = Callable[[dict[str, nn.Parameter]], None]  # changes gradients in place, before clipping
LossOf = Callable[[list[int]], tuple[Tensor, int, int]]  # rows -> sum of the loss, tokens seen, targets counted
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Training:
    """One round of training the weights that are in place in a worker's model.

    The draws (order of examples, dropout) depend on the worker's seed, the purpose, the round and the client alone.
    """

    worker: Worker
    shard: Shard
    settings: LocalTraining
    round: int
    client: ClientId
    rate_factor: float = 1.0  # share of the learning rate that holds in this round
    optimizer: Tensors = field(
        default_factory=dict
    )  # moments kept from the client's last round, as `Trained.optimizer` gave them
    corrections: Sequence[Correction] = ()  # applied to the gradients of each step in order, before clipping
    only: Collection[str] | None = None  # names of the weights that are trained; the others rest, and get no gradient. None: all
    beside: Mapping[str, nn.Parameter] = field(default_factory=dict)
    """Further parameters that are trained with them, which are none of the worker's; they require gradients here alone."""
    received: Tensors | None = None
    """What is in place, of what is exchanged, if the caller has it and it is large.

    Then it is not copied, and each tensor of the delta is made of the weights in place when it is asked for. None: a copy is made first, and the
    delta at once.
    """
    purpose: str = ""  # in front of the names of the random streams, so that two trainings of one round draw apart
    loss_of: LossOf | None = None  # the loss on some rows of the shard; None: the task's own
    on_step: OnStep | None = None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training made of the weights that were in place; they are in place when the one who asked continues."""

    delta: Tensors  # trained minus received, of what is exchanged and was under training
    rates: float  # sum of the learning rates of all steps
    optimizer: Tensors  # the moments, if they are to be kept
    losses: Sequence[float]  # mean loss of each step, over its counted targets
    norms: Sequence[float] = ()  # of the gradient of each step, before clipping
    clip_norm: float | None = None  # that longer gradients were cut to
    tokens: int  # seen, without padding
    targets: int  # counted by the loss

    @property
    def gradient_norm(self) -> float | None:
        """The mean norm of the steps' gradients, before clipping."""
        return fmean(self.norms) if self.norms else None

    @property
    def clipped(self) -> float | None:
        """The share of steps whose gradient was clipped, in [0, 1]; None if none would be."""
        if self.clip_norm is None or not self.norms:
            return None
        return fmean(norm > self.clip_norm for norm in self.norms)


Working: TypeAlias = Generator[Training, Trained, T]  # asks for trainings on its way to a result
