"""What a run has spent of its privacy budget: events on disk, written before anything is sent."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..errors import DataError, ResumeError, RunError
from ..interfaces import Plan
from ..records import ClientId
from ..run_files import read_json_file
from ..storage import write_text, writing
from .accountant import Release, epsilon_of

FILE = "privacy.json"  # in the run folder
RARE = 3.1  # standard deviations above the mean, which one in a thousand exceeds


class RunBudget(Protocol):
    """What a run knows of the privacy that it spends."""

    @property
    def coin(self) -> float | None:
        """The probability with which each client is drawn for a round, in secret; None: clients are drawn as in any other run."""

    def open(self, file: Path) -> None:
        """Continue with what was spent by the run that this file belongs to, if it is there, and write there from now on."""

    def charge(self, clients: Sequence[ClientId]) -> None:
        """Count one more round, in which these clients are asked, before any of them is."""

    def note(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in the rows of a round's clients."""

    def affords(self) -> bool:
        """Return whether one more round is within the budget."""

    def epsilon(self) -> float:
        """Return the epsilon spent so far."""

    def sentences(self, *, ahead: int = 0) -> list[str]:
        """Return what is promised, for people; of so many planned rounds before a run."""

    def says(self, rounds: int) -> Iterator[tuple[str, str]]:
        """Yield what is to be said before a run of so many rounds, by a name for each."""

    def summary(self) -> dict[str, Any]:
        """Return what was spent, for summary.json."""


@runtime_checkable
class Spending(Protocol):
    """The part of a protection that spends a privacy budget: each client is drawn by a coin of its own, and every round is counted."""

    def budget(self, plan: Plan) -> RunBudget:
        """Return what counts the rounds of a run."""


@dataclass(kw_only=True)
class Budget:
    """Counts releases and says what they come to.

    The file is ahead of the run: a round that is interrupted has been written, and is written again when it is done again, so that it counts twice.
    """

    delta: float
    most: float | None  # epsilon of the run; None: there is no bound
    next: Release  # what one more round releases
    seen: Release  # the same, against whoever knows which clients took part: all that hides a client in a round is the noise
    words: Sequence[str]  # how the two are said, with {epsilon}, {delta} and {rounds}
    own: bool = False  # whether it is one client's, whose releases are steps; else a run's, whose releases are rounds
    releases: list[Release] = field(default_factory=list)  # so far, in order; a round that was begun twice is there twice
    taken: Counter[ClientId] = field(default_factory=Counter)  # rounds that each client took part in
    _file: Path | None = None

    def open(self, file: Path) -> None:
        """Continue with what was spent by the run that this file belongs to, if it is there, and write there from now on.

        Raises:
            ResumeError: if the file is damaged.
        """
        self._file, self.releases, self.taken = file, [], Counter()
        if not file.is_file():
            return
        try:
            found = read_json_file(file)
            self.releases = [Release(**each) for each in found["releases"]]
            self.taken = Counter(found["clients"])
        except (DataError, KeyError, TypeError, AttributeError):
            raise ResumeError(
                f"{file} is damaged, so what the run has spent of its privacy budget is not known; put back a copy, or start a new run"
            ) from None

    def charge(self, clients: Sequence[ClientId]) -> None:
        """Count one more round, in which these clients are asked, and write it down.

        Raises:
            RunError: if the budget does not reach for it.
        """
        if not self.affords():
            raise RunError(
                f"the privacy budget of epsilon {self.most:g} is spent: {self.epsilon():.4g} after {self.rounds} rounds"
            )
        self.releases.append(self.next)
        self.taken.update(clients)
        if self._file is not None:
            self._write(self._file)

    @property
    def rounds(self) -> int:
        """How many rounds were charged; one that was begun twice counts twice."""
        return sum(each.count for each in self.releases)

    def affords(self) -> bool:
        """Return whether one more round is within the budget."""
        return self.most is None or self.epsilon(ahead=1) <= self.most

    @property
    def coin(self) -> float | None:
        """The probability with which each client is drawn for a round, in secret."""
        return self.next.rate

    def note(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in the rows of a round's clients: they say nothing of what was spent, which is known before."""

    def epsilon(self, *, ahead: int = 0) -> float:
        """Return the epsilon spent so far, and by so many more rounds."""
        return epsilon_of(_merged([*self.releases, *[self.next] * ahead]), self.delta)

    def epsilon_seen(self, rounds: int) -> float:
        """Return the epsilon of a client that took part in so many rounds, against whoever knows in which."""
        return epsilon_of([Release(noise_multiplier=self.seen.noise_multiplier, rate=self.seen.rate, count=rounds)], self.delta)

    def sentences(self, *, ahead: int = 0) -> list[str]:
        """Return what is promised, for people; of so many planned rounds before a run, in which a client takes part in its share of them."""
        rounds = self._times(ahead)
        found = {"delta": f"{self.delta:.3g}", "rounds": str(rounds)}
        spent = (self.epsilon(ahead=ahead), self.epsilon_seen(rounds))
        return [words.format(epsilon=f"{epsilon:.3g}", **found) for words, epsilon in zip(self.words, spent, strict=True)]

    def summary(self) -> dict[str, Any]:
        """Return what was spent, for summary.json."""
        most = self._times()
        return {
            "epsilon": self.epsilon(),
            "delta": self.delta,
            "budget": self.most,
            "releases": self.rounds,
            "noise_multiplier": self.next.noise_multiplier,
            "rate": self.next.rate,
            "most_rounds_of_a_client": most,
            "epsilon_knowing_who_took_part": self.epsilon_seen(most),
            "sentences": self.sentences(),
        }

    def says(self, rounds: int) -> Iterator[tuple[str, str]]:
        """Yield what is to be said before a run of so many rounds, by a name for each."""
        yield "privacy", "; ".join(self.sentences(ahead=rounds))
        yield "noise", f"{self.next.noise_multiplier:.4g} clips, in each of {rounds} rounds"

    def _times(self, ahead: int = 0) -> int:
        """Return how often whoever took part most often did, or how often one does on average in so many rounds ahead.

        Of one client's own steps: how often they drew one of its units, at most but for one unit in a thousand.
        """
        planned = [self.next] * ahead or self.releases
        mean = sum(each.rate * each.count for each in planned)
        if self.own:
            spread = math.sqrt(sum(each.rate * (1 - each.rate) * each.count for each in planned))
            return min(math.ceil(mean + RARE * spread), sum(each.count for each in planned))
        if ahead:
            return round(mean) or 1
        return max(self.taken.values(), default=0)

    def _write(self, file: Path) -> None:
        spent: Mapping[str, Any] = {
            "releases": [
                {"noise_multiplier": each.noise_multiplier, "rate": each.rate, "count": each.count}
                for each in _merged(self.releases)
            ],
            "clients": dict(sorted(self.taken.items())),
        }
        with writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)  # of a client that has kept nothing else yet
        write_text(file, json.dumps(spent, indent=2) + "\n")


def _merged(releases: Sequence[Release]) -> list[Release]:
    """Return releases in their order, those that are alike and follow each other as one."""
    found: list[Release] = []
    for each in releases:
        last = found[-1] if found else None
        if last is not None and (last.noise_multiplier, last.rate) == (each.noise_multiplier, each.rate):
            found[-1] = Release(noise_multiplier=each.noise_multiplier, rate=each.rate, count=last.count + each.count)
        else:
            found.append(each)
    return found
