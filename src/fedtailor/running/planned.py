"""The plan of a run: what it will cost is estimated before round 1, and what it did cost is set beside it."""

from collections.abc import Mapping
from typing import Any

from ..assembly import Parts
from ..planning import Counts, Estimate, Means, Speed, counts_of, estimate, program_bytes, speed_of
from ..planning.beside import Row, beside, memory_row, seconds_row
from .folder import RunFolder
from .measure import Notify
from .progress import Progress

FILE = "plan.json"
COUNTING_S = 3.0  # what counting a step takes, about
SHARE = 0.01  # of a run's time that it may take


class Planned:
    """A run's estimate, kept beside it.

    A step is not counted before the run, which shall start at once: what `fedtailor check` or an earlier run counted is found in the user's cache. Else it
    is counted after round 1, if the run is so long that this takes no more than a hundredth of it.
    """

    def __init__(self, parts: Parts, folder: RunFolder, notify: Notify, *, alone: bool) -> None:
        """Estimate what the cache allows, and write it to the folder; a baseline has no messages and no plan."""
        self._parts, self._folder, self._notify = parts, folder, notify
        alone = alone or not parts.protocol.evaluates  # what a retrieval takes is not estimated
        self._said: set[str] = set()
        self._program = program_bytes(parts)
        self._counts: Counts = {} if alone else counts_of(parts, fresh=False)
        self._speed: Speed | None = speed_of(parts, self._counts, fresh=False)
        self._found: Estimate | None = None if alone else self._estimate()
        self._write()

    def look(self, progress: Progress) -> None:
        """Look at a run after a round: memory or time beyond the plan is an event, once."""
        if self._found is None:
            return
        done = progress.state.version
        if not self._found.counted and self._worth_counting(progress):
            self._counts = counts_of(self._parts)
            self._found = self._estimate()
            self._write()
        share, seconds = done / self._found.rounds, progress.figures["seconds"]["train"]
        timed = seconds_row(self._found, "train", measured=seconds, share=share)
        for row in (memory_row(self._found, progress.figures["peak_bytes"]), timed):
            if row is not None and row.estimated and row.measured > row.estimated:
                self._say(row, round=done)

    def section(self, progress: Progress) -> dict[str, Any] | None:
        """Return the section of the summary: estimated and measured side by side, for the rounds that were carried out; None without a plan."""
        if self._found is None:
            return None
        done = progress.state.version
        found = self._found if done == self._found.rounds else self._estimate(rounds=done)
        rows = beside(found, progress.figures)
        for row in rows:
            self._say(row, round=done)
        return {"counted": found.counted, "rounds": done, "rows": [row.to_dict() for row in rows]}

    def _estimate(self, rounds: int | None = None) -> Estimate:
        return estimate(
            self._parts,
            rounds=rounds,
            means=Means(at_once=1),
            counts=self._counts,
            speed=self._speed,
            program=self._program,
        )

    def _worth_counting(self, progress: Progress) -> bool:
        if not self._parts.protocol.trains or progress.state.version != 1 or self._found is None:
            return False
        return float(progress.figures["seconds"]["total"]) * self._found.rounds * SHARE >= COUNTING_S

    def _write(self) -> None:
        if self._found is not None:
            self._folder.write_json(FILE, self._found.to_dict())

    def _say(self, row: Row, *, round: int) -> None:
        if row.off_plan and row.what not in self._said:
            self._said.add(row.what)
            self._notify("off-plan", round=round, **off_plan(row))


def off_plan(row: Row) -> Mapping[str, Any]:
    """Return the facts of the event that a run is off its plan."""
    return {"what": row.what, "of": row.of, "estimated": row.estimated, "measured": row.measured, "ratio": row.ratio}
