"""Ditto: beside the shared weights w each client trains weights v of its own, which are drawn towards w.

Source: Li et al., 2020, arXiv:2012.04221, algorithm 1: v minimizes f(v) + lambda / 2 |v - w|^2, where f is the client's own loss; its steps are
v - rate (gradient of f at v + lambda (v - w)), w as received. Differences: v starts from the first w that the client is sent; the pull is added to
the gradient of any optimizer, before clipping.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..errors import SettingError
from ..learning.corrections import proximal
from ..learning.work import Trained, Working
from ..limits import Epochs, LearningRate, Number, Steps
from ..tensors import Tensors
from .own_training import check_own, own_local
from .technique import Personal, Turn


@dataclass(frozen=True, kw_only=True)
class Ditto:
    """All weights are shared, and each client trains a second set of its own, drawn towards the shared one."""

    gives: ClassVar[Mapping[str, bool | str]] = {"no-pull": False}
    kind: Literal["ditto"] = "ditto"
    pull: Number = 0.1  # the paper's lambda, at least 0: 0 is training alone; it tries 0.05 to 2
    epochs: Epochs | None = None  # passes over the training part for the client's own weights; null: as protocol.local
    steps: Steps | None = None  # or so many optimizer steps
    learning_rate: LearningRate | None = None  # null: that of protocol.local

    def __post_init__(self) -> None:
        if not 0 <= self.pull < math.inf:
            raise SettingError(f"pull is the paper's lambda, at least 0; got {self.pull}; 0.1 and 1 are usual")
        check_own(epochs=self.epochs, steps=self.steps, learning_rate=self.learning_rate)

    @property
    def personal(self) -> bool:
        """Whether clients end with weights of their own."""
        return True

    def stays_home(self, names: Sequence[str]) -> frozenset[str]:
        """Return no name: all weights are shared, and a second set is the client's own."""
        return frozenset()

    def train(self, turn: Turn) -> Working[tuple[Trained, Tensors]]:
        """Train the shared weights as without Ditto, then the client's own; the latter are kept."""
        worker = turn.worker
        pull = proximal(worker.params, self.pull)  # towards w as received, which is in place
        trained = yield from turn.train_shared()
        after = worker.tensors()
        worker.load(turn.kept or turn.shared)
        settings = own_local(turn.local, epochs=self.epochs, steps=self.steps, learning_rate=self.learning_rate)
        yield from turn.train_own(settings, corrections=[pull])
        own = worker.tensors()
        worker.load(after)
        return trained, own

    def finish(self, turn: Turn) -> Personal:
        """Return the client's own weights, or the shared ones if it was never asked to train."""
        return Personal(shared=turn.kept or turn.shared)

    def check(self, *, own_validation: bool) -> None:
        """Accept any data."""
