"""FedPer: some weights stay home and are never sent; the others are averaged.

Source: Arivazhagan et al., 2019, arXiv:1912.00818, algorithms 1 and 2: base layers are shared, personalization layers stay with each client, and
a client trains both together. Differences: what stays home is chosen by name among the trained weights, where the paper has the last
layers of a network that is trained whole; clients start from one draw of these weights, the job's seed; any optimizer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..learning.work import Trained, Working
from ..pairs import Need
from ..tensors import Tensors
from .home import check_patterns, matching
from .technique import NEEDS_OF_HOME, Personal, Turn


@dataclass(frozen=True, kw_only=True)
class FedPer:
    """Named weights stay with each client, which trains them together with the shared ones."""

    gives: ClassVar[Mapping[str, bool | str]] = {"trains-home": True}
    needs: ClassVar[Sequence[Need]] = tuple(need for need in NEEDS_OF_HOME if need.word != "whole-model")
    kind: Literal["fedper"] = "fedper"
    home: tuple[str, ...]  # names, parts of names or patterns of the weights that stay home, such as [score] or ['*.layers.1.*']

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", check_patterns(self.home))

    @property
    def personal(self) -> bool:
        """Whether clients end with weights of their own."""
        return True

    def stays_home(self, names: Sequence[str]) -> frozenset[str]:
        """Return the names that `home` matches."""
        return matching(self.home, names)

    def train(self, turn: Turn) -> Working[tuple[Trained, Tensors]]:
        """Train shared and home weights together; the latter are kept."""
        trained = yield from turn.train_shared(with_home=True)
        return trained, turn.worker.home_tensors()

    def finish(self, turn: Turn) -> Personal:
        """Return the shared weights with the client's own."""
        return Personal(shared=turn.shared, home=turn.kept)

    def check(self, *, own_validation: bool) -> None:
        """Accept any data."""
