"""What looks at a round without a part in it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..records import ClientId, Outcome, Update
from ..tensors import Tensors


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What an observer found in a round."""

    clients: Mapping[ClientId, Mapping[str, float]] = field(default_factory=dict)  # further columns of clients.parquet
    figures: Mapping[str, float] = field(default_factory=dict)  # of the round


class Watch(Protocol):
    """Looks at one attempt at a round; it changes nothing."""

    def see(self, update: Update) -> None:
        """Look at one client's update, on its way to the aggregation; whoever needs more of it later than its client's name keeps a copy."""

    def end(self, outcome: Outcome, step: Tensors) -> Seen:
        """Return what was found, when the round is done.

        Args:
            step: what the round changed of the shared weights.
        """


class Observer(Protocol):
    """Looks at the updates of each round, where they are known one by one, and at what becomes of them."""

    def begin(self, shared: Tensors, trained: Collection[str]) -> Watch:
        """Return what looks at an attempt at a round.

        Args:
            shared: weights that the round starts from.
            trained: names of those that clients train in it.
        """
