"""No personalization."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..learning.work import Trained, Working
from ..pairs import Need
from ..tensors import Tensors
from .technique import Personal, Turn


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Nothing is personal: every client uses the shared weights."""

    gives: ClassVar[Mapping[str, bool | str]] = {"shared-adapter": True, "trains-home": True, "rank-free": True}
    needs: ClassVar[Sequence[Need]] = ()
    kind: Literal["none"] = "none"

    @property
    def personal(self) -> bool:
        """Whether clients end with weights of their own."""
        return False

    def stays_home(self, names: Sequence[str]) -> frozenset[str]:
        """Return no name: all weights are shared."""
        return frozenset()

    def train(self, turn: Turn) -> Working[tuple[Trained, Tensors]]:
        """Train the shared weights; nothing is kept, but for what the task keeps at each client."""
        trained = yield from turn.train_shared(with_home=True)
        return trained, turn.worker.home_tensors()

    def finish(self, turn: Turn) -> Personal:
        """Return the shared weights."""
        return Personal(shared=turn.shared)

    def check(self, *, own_validation: bool) -> None:
        """Accept any data."""
