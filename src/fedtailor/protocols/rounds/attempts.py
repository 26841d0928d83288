"""A round is tried again if too few clients answered: the loop of every protocol that has rounds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ...errors import TooFewClients
from ...records import ClientFailure, ClientId
from .sampling import at_least
from .too_few import too_few

ATTEMPTS = 2  # a round with too few answers is tried once more
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Tried(Generic[T]):
    """What one attempt at a round came to."""

    found: T | None  # None: nothing could be made of the answers
    asked: int  # clients
    answered: int  # with something that can be used
    failures: Mapping[ClientId, ClientFailure]
    rows: Callable[[], Sequence[Mapping[str, Any]]]  # a row for each client, of an attempt that came to nothing


@dataclass(frozen=True, kw_only=True)
class Enough(Generic[T]):
    """An attempt that enough clients answered, and what those before it cost."""

    found: T
    attempt: int  # from 1
    spent: list[dict[str, Any]] = field(default_factory=list)  # rows of attempts that came to nothing: what they sent was sent
    failures: list[tuple[ClientId, ClientFailure]] = field(default_factory=list)  # of all attempts

    def numbered(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return all rows of the round, with those of this attempt."""
        return [*self.spent, *({"attempt": self.attempt, **row} for row in rows)]


def until_enough(
    ask: Callable[[], Tried[T]], *, index: int, what: str, quorum: float, learning_rate: float, least: int = 1
) -> Enough[T]:
    """Ask until enough clients have answered.

    Args:
        ask: makes one attempt.
        index: of the round, from 1.
        what: clients are to send.
        quorum: least share of the asked clients that must answer.
        learning_rate: of local training.
        least: answers of which anything can be made.

    Raises:
        TooFewClients: if less than the quorum answered, ATTEMPTS times.
    """
    spent: list[dict[str, Any]] = []
    failures: list[tuple[ClientId, ClientFailure]] = []
    for attempt in range(1, ATTEMPTS + 1):
        tried = ask()
        failures += tried.failures.items()
        if tried.found is not None and tried.answered >= at_least(quorum, tried.asked):
            return Enough(found=tried.found, attempt=attempt, spent=spent, failures=failures)
        spent += [{"attempt": attempt, **row} for row in tried.rows()]
    raise TooFewClients(
        too_few(
            index,
            what,
            answered=tried.answered,
            asked=tried.asked,
            failures=tried.failures,
            quorum=quorum,
            least=least,
            attempts=ATTEMPTS,
            rate=learning_rate,
        )
    )
