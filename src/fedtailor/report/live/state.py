"""What the live page shows of a run folder, as it is now."""

import json
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...printable import printable
from ...run_files import how_to_resume, read_json_file
from ..page import live_page_of, main_of
from ..so_far import read_so_far
from ..wording import figure

LOG, END, NOW, LOCK = "events.jsonl", "summary.json", "now.json", "run.lock"
TABLES = ("rounds.parquet", END)  # they come after the events that announce them
REST = 20  # times as long as the last drawing took, until the next one begins: at most a twentieth of a processor


@dataclass
class State:
    """A run folder, drawn again only when it has changed."""

    folder: Path
    next_drawing: float = 0.0
    _drawn: tuple[str, str] = ("", "")  # mark, HTML
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def mark(self) -> str:
        """Return how far the run is: the bytes of its events, and when its tables and summary were written."""
        return "-".join(map(str, (self._stat(LOG)[0], *(self._stat(name)[1] for name in TABLES), int(self.alive() is False))))

    def main(self) -> tuple[str, str]:
        """Return the mark and the HTML of the page's main part; many who ask at once get one drawing."""
        with self._lock:
            mark = self.mark()
            if mark != self._drawn[0]:
                began = time.monotonic()
                self._drawn = mark, self._main()
                self.next_drawing = time.monotonic() + REST * (time.monotonic() - began)
            return self._drawn

    def page(self, nonce: str) -> str:
        """Return the whole page.

        Raises:
            DataError: if a file of the run is damaged.
        """
        with self._lock:
            return live_page_of(read_so_far(self.folder), nonce)

    def _main(self) -> str:
        from markupsafe import escape

        try:
            return main_of(read_so_far(self.folder))
        except DataError as error:
            return f"<main><p>{escape(printable(str(error)))}</p></main>"

    def ended(self) -> bool:
        """Return whether the run has its result."""
        return (self.folder / END).exists()

    def now(self) -> str:
        """Return in a sentence what the run is doing."""
        if self.ended():
            return "the run has ended"
        if self.alive() is False:
            return f"the run was interrupted: {how_to_resume(self.folder)}"
        try:
            found = read_json_file(self.folder / NOW)
            return _sentence(found)
        except (DataError, KeyError, TypeError, ValueError, AttributeError):
            return "the run is under way"

    def alive(self) -> bool | None:
        """Return whether the process that carries the run out is there; None if that cannot be seen from this machine."""
        try:
            held = json.loads((self.folder / LOCK).read_text(encoding="utf-8"))
            if held["machine"] != os.uname().nodename:
                return None
            os.kill(int(held["process"]), 0)
        except ProcessLookupError:
            return False
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return None
        return True

    def _stat(self, name: str) -> tuple[int, int]:
        """Return size in bytes and time of a file; zeros if there is none."""
        try:
            found = (self.folder / name).stat()
        except OSError:
            return 0, 0
        return found.st_size, found.st_mtime_ns


def _sentence(now: dict[str, Any]) -> str:
    if now["event"] == "step":
        text = f"{now['client']}: step {int(now['step'])} of {int(now['steps'])}, loss {figure('loss', float(now['loss']))}"
    else:
        text = f"measuring {now['what']}: {int(now['done'])} of {int(now['of'])}"
    return printable(text)
