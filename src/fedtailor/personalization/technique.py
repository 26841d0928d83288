"""What every personalization promises, and what it works with."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..learning.client import ClientState
from ..learning.local import LocalTraining
from ..learning.training import Correction, Trained, train_locally
from ..learning.worker import OnStep, Worker
from ..records import Fact
from ..tensors import Tensors

OWN = "own/"  # a client keeps tensors of its own under their names with this in front


@dataclass(kw_only=True)
class Turn:
    """One client's turn: its own weights and the shared ones, and the training loop to work on them with.

    When a technique is given it, what the client starts from is in place in the worker's model.
    """

    worker: Worker
    state: ClientState
    shared: Tensors  # as received
    kept: Tensors  # what the technique kept at this client, as of the version received; empty at first
    version: int  # of the shared weights
    local: LocalTraining  # of the protocol
    sent: Collection[str]  # names of the shared weights that are under training in this round
    rate_factor: float = 1.0
    optimizer: Tensors = field(default_factory=dict)  # moments kept from the client's last round
    corrections: Sequence[Correction] = ()  # of the protocol
    on_step: OnStep | None = None
    done: list[Trained] = field(default_factory=list)  # all that was trained in this turn, so that its cost is told

    def train_shared(self, *, with_home: bool = False) -> Trained:
        """Train the shared weights as the protocol says, and with them those that stay home if asked.

        They must be in place as received; with full tuning the delta is read from the weights that are left in place.
        """
        names = [*self.sent, *(sorted(self.worker.home) if with_home else ())]
        everything = len(names) == len(self.shared) + len(self.worker.home)
        return self._train(
            self.local,
            only=None if everything else names,
            optimizer=self.optimizer,
            corrections=self.corrections,
            received=self.shared if self.worker.lean else None,
            purpose="",
        )

    def train_own(
        self, settings: LocalTraining, *, only: Collection[str] | None = None, corrections: Sequence[Correction] = ()
    ) -> Trained:
        """Train the weights in place for the client itself; its draws are not those of shared training."""
        return self._train(settings, only=only, optimizer={}, corrections=corrections, purpose="own-")

    def _train(
        self,
        settings: LocalTraining,
        *,
        only: Collection[str] | None,
        optimizer: Tensors,
        corrections: Sequence[Correction],
        purpose: str,
        received: Tensors | None = None,
    ) -> Trained:
        trained = train_locally(
            self.worker,
            self.state.train,
            settings,
            round=self.version + 1,
            client=self.state.id,
            rate_factor=self.rate_factor,
            optimizer=optimizer,
            corrections=corrections,
            only=only,
            received=received,
            purpose=purpose,
            on_step=self.on_step,
        )
        self.done.append(trained)
        return trained


@dataclass(frozen=True, kw_only=True)
class Personal:
    """One client's weights in the end."""

    shared: Tensors  # in the place of the shared weights, by the same names
    home: Tensors = field(default_factory=dict)  # those that never left; empty: as they were drawn at the start
    facts: Mapping[str, Fact] = field(default_factory=dict)  # of PERSONAL_FACTS


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

    def train(self, turn: Turn) -> tuple[Trained, Tensors]:
        """Carry out one client's training in a round; return that of the shared weights, and what the client keeps of its own.

        Tensors are kept by version, and come back as `Turn.kept`. The weights left in place are those that were trained as shared.
        """

    def finish(self, turn: Turn) -> Personal:
        """Return the client's weights after the last round, when nothing is sent any more but figures."""

    def check(self, *, own_validation: bool) -> None:
        """Raise SettingError if the settings need each client to have a validation part of its own, and none has."""
