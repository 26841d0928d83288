"""What every personalization promises, and what it works with."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import nn

from ..interfaces import Aggregation, Tuning
from ..learning.client import Client
from ..learning.local import LocalTraining
from ..learning.private.client import PrivateClient
from ..learning.work import Correction, Trained, Training, Working
from ..learning.worker import OnStep, Worker
from ..pairs import USUAL_NEEDS, Need
from ..tasks import Task
from ..tensors import Tensors

NEEDS_OF_PAIRS: Sequence[Need] = (
    *USUAL_NEEDS["personalization"],
    Need(word="one-rank", why="its two adapters have one rank for all", remedy="give all clients one rank, or choose finetune"),
    Need(word="factors", why="it puts a second LoRA beside the first", remedy="choose tuning: lora, or personalization: ditto"),
    Need(
        word="one-task", why="it weighs two adapters by the texts of one task", remedy="leave the tasks out, or choose finetune"
    ),
    Need(word="tokens", why="it weighs two adapters by the tokens of a text", remedy="choose finetune, ditto or fedper"),
)  # of a technique with two adapters


NEEDS_OF_HOME: Sequence[Need] = (
    *USUAL_NEEDS["personalization"],
    Need(
        word="no-control",
        why="control variates belong to weights that everybody shares",
        remedy="choose aggregation: fedavg, or personalization: finetune",
    ),
)  # of a technique whose clients keep some of the weights


@dataclass(kw_only=True)
class Turn:
    """One client's turn: its own weights and the shared ones, and the training loop to work on them with.

    When a technique is given it, what the client starts from is in place in the worker's model. Trainings are asked for: `yield from` gives what came
    of them.
    """

    client: Client
    shared: Tensors  # as received
    kept: Tensors  # what the technique kept at this client, as of the version received; empty at first
    version: int  # of the shared weights
    local: LocalTraining  # of the protocol
    sent: Collection[str]  # names of the shared weights that are under training in this round
    rate_factor: float = 1.0
    optimizer: Tensors = field(default_factory=dict)  # moments kept from the client's last round
    corrections: Sequence[Correction] = ()  # of the protocol
    on_step: OnStep | None = None
    clients: int = 0  # of the federation, those that are never asked too; 0 where nobody said it
    done: list[Trained] = field(default_factory=list)  # all that was trained in this turn, so that its cost is counted

    @property
    def worker(self) -> Worker:
        """What the client works with."""
        return self.client.worker

    def train_shared(self, *, with_home: bool = False, beside: Mapping[str, nn.Parameter] | None = None) -> Working[Trained]:
        """Train the shared weights as the protocol says, and with them those that stay home if asked, and further parameters.

        They must be in place as received; with full tuning the delta is read from the weights that are left in place.
        """
        names = [*self.sent, *(sorted(self.worker.home) if with_home else ())]
        everything = len(names) == len(self.shared) + len(self.worker.home)
        return self._train(
            self.local,
            only=None if everything else names,
            optimizer=self.optimizer,
            corrections=self.corrections,
            beside=beside,
            received=self.shared if self.worker.lean else None,
            purpose="",
            private=self.client.private,
        )

    def train_own(
        self,
        settings: LocalTraining,
        *,
        only: Collection[str] | None = None,
        corrections: Sequence[Correction] = (),
        beside: Mapping[str, nn.Parameter] | None = None,
    ) -> Working[Trained]:
        """Train the weights in place, and those beside, for the client itself; its draws are not those of shared training."""
        return self._train(settings, only=only, optimizer={}, corrections=corrections, beside=beside, purpose="own-")

    def _train(
        self,
        settings: LocalTraining,
        *,
        only: Collection[str] | None,
        optimizer: Tensors,
        corrections: Sequence[Correction],
        beside: Mapping[str, nn.Parameter] | None,
        purpose: str,
        received: Tensors | None = None,
        private: PrivateClient | None = None,
    ) -> Working[Trained]:
        trained = yield Training(
            worker=self.worker,
            shard=self.client.train,
            settings=settings,
            round=self.version + 1,
            client=self.client.id,
            rate_factor=self.rate_factor,
            optimizer=optimizer,
            corrections=corrections,
            only=only,
            beside=beside or {},
            received=received,
            purpose=purpose,
            on_step=self.on_step,
            private=private,
        )
        self.done.append(trained)
        return trained


@dataclass(frozen=True, kw_only=True)
class Personal:
    """One client's weights in the end."""

    shared: Tensors  # in the place of the shared weights, by the same names
    home: Tensors = field(default_factory=dict)  # those that never left; empty: as they were drawn at the start
    kept: bool | None = None  # whether they are its own; None: if it was ever asked to train
    mixture: "Mixture | None" = None  # a second adapter that takes part in the forward pass


class Mixture(Protocol):
    """A second adapter of one client's, and by what shares both count."""

    def placed(self) -> AbstractContextManager[None]:
        """Let it take part in the forward pass, inside the block."""

    def save(self, folder: Path) -> None:
        """Write it with the weights in place, so that `load_personal` makes the same model of it."""


class Personalization(Protocol):
    """What a client keeps for itself: a frozen dataclass of settings."""

    @property
    def kind(self) -> str:
        """The name by which a job chooses it."""

    @property
    def personal(self) -> bool:
        """Whether clients end with weights of their own."""

    def stays_home(self, names: Sequence[str]) -> frozenset[str]:
        """Return which of the exchanged tensors stay home: these never travel.

        Raises:
            SettingError: if a name or pattern of the settings matches nothing, or all would stay home.
        """

    def train(self, turn: Turn) -> Working[tuple[Trained, Tensors]]:
        """Carry out one client's training in a round; return that of the shared weights, and what the client keeps of its own.

        Tensors are kept by version, and come back as `Turn.kept`. The weights left in place are those that were trained as shared.
        """

    def finish(self, turn: Turn) -> Working[Personal] | Personal:
        """Return the client's weights after the last round, when nothing is sent any more but figures."""

    def check(self, *, own_validation: bool) -> None:
        """Raise SettingError if the settings need each client to have a validation part of its own, and none has."""


@runtime_checkable
class Dual(Protocol):
    """What a technique has besides, if it puts a second adapter beside the first."""

    @property
    def last_round(self) -> bool:
        """Whether what a client keeps goes with the last round's shared weights, and has a part in judging each round."""

    def attach(self, model: nn.Module, *, seed: int) -> None:
        """Put the second adapter in place; at rest it has no part in the forward pass.

        Raises:
            SettingError: if the model has no plain LoRA in place.
        """

    def fits(self, *, task: Task, tuning: Tuning, local: LocalTraining, wire: str, clients: int) -> None:
        """Raise SettingError, naming a working alternative, if the technique does not go with the other parts of the job."""

    def rule(self, clients: int) -> Aggregation | None:
        """Return the aggregation that the technique needs in the place of fedavg, or None."""

    def placed(self, turn: Turn) -> AbstractContextManager[None]:
        """Let the client's model be the one that `turn.kept` and the shared weights make, inside the block."""


def dual_of(technique: Personalization) -> Dual | None:
    """Return the technique as one that puts a second adapter beside the first; None if it does not."""
    return technique if isinstance(technique, Dual) else None


def goes_with_last_round(technique: Personalization) -> bool:
    """Return whether what clients keep belongs to the last round's shared weights, and to those of no earlier round."""
    dual = dual_of(technique)
    return dual is not None and dual.last_round
