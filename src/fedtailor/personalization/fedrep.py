"""FedRep: a client first trains what stays home with the shared weights at rest, then the shared ones with those at rest.

Source: Collins et al., 2021, arXiv:2102.07078, algorithm 1: some steps on the head, then on the representation. Differences: what stays home
is chosen by name, as in FedPer; the shared weights take as many steps as `protocol.local` says, and not one epoch always.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..learning.work import Trained, Working
from ..limits import Epochs, LearningRate, Steps
from ..pairs import Need
from ..tensors import Tensors
from .home import check_patterns, matching
from .own_training import check_own, own_local
from .technique import NEEDS_OF_HOME, Personal, Turn


@dataclass(frozen=True, kw_only=True)
class FedRep:
    """Named weights stay with each client, which trains them first, and then the shared ones."""

    needs: ClassVar[Sequence[Need]] = NEEDS_OF_HOME
    kind: Literal["fedrep"] = "fedrep"
    home: tuple[str, ...]  # names, parts of names or patterns of the weights that stay home, such as [score] or ['*.layers.1.*']
    home_epochs: Epochs | None = None  # passes over the training part for the home weights; null: as protocol.local
    home_steps: Steps | None = None  # or so many optimizer steps
    home_learning_rate: LearningRate | None = None  # null: that of protocol.local

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", check_patterns(self.home))
        check_own(home_epochs=self.home_epochs, home_steps=self.home_steps, home_learning_rate=self.home_learning_rate)

    @property
    def personal(self) -> bool:
        """Whether clients end with weights of their own."""
        return True

    def stays_home(self, names: Sequence[str]) -> frozenset[str]:
        """Return the names that `home` matches."""
        return matching(self.home, names)

    def train(self, turn: Turn) -> Working[tuple[Trained, Tensors]]:
        """Train the home weights, then the shared ones; the former are kept."""
        settings = own_local(turn.local, epochs=self.home_epochs, steps=self.home_steps, learning_rate=self.home_learning_rate)
        yield from turn.train_own(settings, only=turn.worker.home)
        trained = yield from turn.train_shared()
        return trained, turn.worker.home_tensors()

    def finish(self, turn: Turn) -> Personal:
        """Return the shared weights with the client's own."""
        return Personal(shared=turn.shared, home=turn.kept)

    def check(self, *, own_validation: bool) -> None:
        """Accept any data."""
