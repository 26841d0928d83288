"""What clients that count for themselves have reported of the privacy that they spent."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError, ResumeError
from ..messages.rows import worked
from ..records import ClientId
from ..run_files import read_json_file
from ..storage import write_text


@dataclass(kw_only=True)
class ReportedBudget:
    """The largest epsilon of any client: each hides its own examples, so that those of two do not add up (parallel composition).

    Clients count by themselves, refuse what would pass their budget, and report what they spent with each update; here it is known after a round.
    """

    delta: float
    most: float | None  # epsilon of each client; None: there is no bound
    words: Callable[
        [int], list[str]
    ]  # what is promised by so many rounds, of the client that spends most, as far as it is known here
    planned: Callable[[], Sequence[tuple[str, str]]]  # what else is to be said before a run
    spent: dict[ClientId, tuple[float, float]] = field(default_factory=dict)  # by each client so far, and by another round
    rounds: dict[ClientId, int] = field(default_factory=dict)  # that each took part in
    _file: Path | None = None

    @property
    def coin(self) -> None:
        """Clients are drawn as in any other run: nothing is made of that."""
        return

    def open(self, file: Path) -> None:
        """Continue with what was reported in the run that this file belongs to, if it is there, and write there from now on.

        Raises:
            ResumeError: if the file is damaged.
        """
        self._file = file
        if not file.is_file():
            return
        try:
            found = read_json_file(file)["clients"]
            self.spent = {client: (float(each["epsilon"]), float(each["epsilon_next"])) for client, each in found.items()}
            self.rounds = {client: int(each["rounds"]) for client, each in found.items()}
        except (DataError, KeyError, TypeError, ValueError, AttributeError):
            raise ResumeError(
                f"{file} is damaged, so what clients have spent of their privacy budgets is not known; put back a copy, or start a new run"
            ) from None

    def charge(self, clients: Sequence[ClientId]) -> None:
        """Clients charge themselves."""

    def note(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in the rows of a round's clients, and write down what they say."""
        for row in rows:
            work = worked(row)
            if work is not None and work.epsilon is not None:
                self.spent[work.client] = (float(work.epsilon), float(work.epsilon_next or work.epsilon))
                self.rounds[work.client] = self.rounds.get(work.client, 0) + 1
        if self._file is not None:
            reported = {
                client: {"epsilon": spent, "epsilon_next": following, "rounds": self.rounds.get(client, 0)}
                for client, (spent, following) in sorted(self.spent.items())
            }
            write_text(self._file, json.dumps({"clients": reported}, indent=2) + "\n")

    def affords(self) -> bool:
        """Return whether one more round is within the budget of every client that has reported."""
        return self.most is None or all(following <= self.most for _, following in self.spent.values())

    def epsilon(self) -> float:
        """Return the largest epsilon of a client so far."""
        return max((spent for spent, _ in self.spent.values()), default=0.0)

    def sentences(self, *, ahead: int = 0) -> list[str]:
        """Return what is promised, for people."""
        return self.words(ahead or max(self.rounds.values(), default=0))

    def says(self, rounds: int) -> Iterator[tuple[str, str]]:
        """Yield what is to be said before a run of so many rounds, by a name for each."""
        yield "privacy", "; ".join(self.sentences(ahead=rounds))
        yield from self.planned()

    def summary(self) -> dict[str, Any]:
        """Return what was spent, for summary.json."""
        return {
            "epsilon": self.epsilon(),
            "delta": self.delta,
            "budget": self.most,
            "of": "the client that spent most",
            "most_rounds_of_a_client": max(self.rounds.values(), default=0),
            "clients": {client: spent for client, (spent, _) in sorted(self.spent.items())},
            "sentences": self.sentences(),
        }
