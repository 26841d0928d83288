"""What a run is doing at this moment, in a file that is replaced at most once a second: for those who watch, and for nothing else."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from ..printable import json_text
from ..run_files import finite

NAME = "now.json"
EVERY_S = 1.0
SHOWN = {"step": ("client", "step", "steps", "loss"), "evaluating": ("what", "done", "of")}  # of which events, and what of them


class Now:
    """Writes the file; what cannot be written is left out, as the run does not depend on it."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the run's folder; nothing is written yet."""
        self._file, self._clock, self._next = folder / NAME, clock, 0.0

    def see(self, kind: str, facts: Mapping[str, object]) -> None:
        """Take one event of the run."""
        if kind == "done":
            with suppress(OSError):
                self._file.unlink(missing_ok=True)
        if kind not in SHOWN or self._clock() < self._next:
            return
        self._next = self._clock() + EVERY_S
        value = {"event": kind, **{name: facts.get(name) for name in SHOWN[kind]}}
        fresh = self._file.with_name(f".{NAME}.new")
        with suppress(OSError):
            fresh.write_text(json_text(finite(value), default=str) + "\n", encoding="utf-8")
            fresh.replace(self._file)
