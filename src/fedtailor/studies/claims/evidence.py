"""Evidence lines: what was found for a comparison of a claim, where, and from how many seeds."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...storage import write_text, writing

LEAST_SEEDS = 3


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One line: effects by seed, or what is known of them."""

    claim: str
    comparison: str = "main"
    origin: str  # measured: from a run's tables, by a command; transcribed: from a table that people wrote
    commit: str
    date: str = ""
    machine: str
    size: str  # how large the runs were
    seeds: Sequence[int] = ()
    effects: Sequence[float] = ()  # one for each seed, paired
    mean: float | None = None  # of paired differences whose single values were not kept, with sd and n
    sd: float | None = None
    n: int | None = None
    source: str = ""  # the folder, or the section of the manual
    note: str = ""

    @property
    def count(self) -> int:
        """How many seeds paired effects are known of."""
        return len(self.effects) if self.effects else (self.n or 0) if self.sd is not None else 0

    @property
    def centre(self) -> float | None:
        """The mean effect; None where it is not known."""
        return statistics.fmean(self.effects) if self.effects else self.mean

    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the mean effect by Student's t; None below 2 seeds."""
        if self.count < 2 or self.centre is None:
            return None
        from scipy.stats import t

        deviation = statistics.stdev(self.effects) if self.effects else self.sd
        half = float(t.ppf(0.975, self.count - 1)) * float(deviation or 0.0) / self.count**0.5
        return self.centre - half, self.centre + half


def read_all(folder: Path | None = None) -> dict[str, list[Evidence]]:
    """Return the evidence that comes with the package and that in a folder of the user's, by claim.

    Raises:
        DataError: if a line cannot be read.
    """
    found: dict[str, list[Evidence]] = {}
    places: list[Traversable] = [files(__package__).joinpath("evidence"), *([folder] if folder and folder.is_dir() else [])]
    for place in places:
        for file in sorted(place.iterdir(), key=lambda file: file.name):
            for line in _lines(file) if file.name.endswith(".jsonl") else ():
                found.setdefault(line.claim, []).append(line)
    return found


def append_evidence(folder: Path, lines: Iterable[Evidence]) -> list[Path]:
    """Add lines to the files of their claims in a folder, and return these."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    touched: dict[Path, None] = {}
    for line in lines:
        file = folder / f"{line.claim}.jsonl"
        before = file.read_text(encoding="utf-8") if file.is_file() else ""
        kept = {name: value for name, value in asdict(line).items() if value not in (None, "", [], ())}
        write_text(file, before + json.dumps(kept, ensure_ascii=False) + "\n")
        touched[file] = None
    return list(touched)


def _lines(file: Traversable) -> list[Evidence]:
    known = {each.name for each in fields(Evidence)}
    found = []
    for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            raw: Mapping[str, Any] = json.loads(text)
            found.append(Evidence(**raw))
        except (ValueError, TypeError) as fault:
            raise DataError(
                f"line {number} of {file} is no line of evidence: {fault}; it is a JSON object with {', '.join(sorted(known))}"
            ) from None
    return found
