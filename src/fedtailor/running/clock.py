"""Where the time of a run goes."""

import time

from ..assembly import Parts
from .folder import RunFolder
from .progress import Progress

TOTAL = "total"


class Clock:
    """Counts a run's seconds across interruptions, and gives each to one part, so that the parts sum to the whole.

    On one machine, where clients work one after the other. On a network they work at once, and the sums of their seconds exceed the whole.
    """

    def __init__(self, progress: Progress) -> None:
        """Begin now."""
        self._last, self._counted = time.perf_counter(), _sum_of_parts(progress)

    def lap(self, progress: Progress, part: str) -> None:
        """Give the time since the last lap to a part, but for what other parts have been given meanwhile."""
        now, counted = time.perf_counter(), _sum_of_parts(progress)
        elapsed, elsewhere = now - self._last, counted - self._counted
        seconds = progress.figures["seconds"]
        seconds[TOTAL] += elapsed
        seconds[part] = seconds.get(part, 0.0) + max(0.0, elapsed - elsewhere)
        self._last, self._counted = now, _sum_of_parts(progress)

    def save(self, progress: Progress, folder: RunFolder, parts: Parts) -> None:
        """Write a checkpoint, with the time so far in it, and which state of each client goes with it."""
        progress.figures["client_states"] = parts.clients.kept_at(progress.state.version)
        folder.save(progress)
        self.lap(progress, "save")


def _sum_of_parts(progress: Progress) -> float:
    return float(sum(seconds for part, seconds in progress.figures["seconds"].items() if part != TOTAL))
