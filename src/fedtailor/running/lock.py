"""One process at a time in a run folder."""

import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from ..errors import ResumeError
from ..storage import writing
from ..text_files import check_regular

try:
    import fcntl
except ImportError:  # no Unix: nothing keeps a second process out
    fcntl = None  # type: ignore[assignment]

NAME = "run.lock"  # stays in the folder; the system lets go of it when its process ends, however it ends
POLL_S = 0.1


class FolderLock:
    """Holds a run folder while it is used in a `with`; the system releases it if the process dies."""

    def __init__(self, folder: Path, *, wait_s: float = 0.0) -> None:
        """Take the folder, and how long to wait for another process to end."""
        self._file, self._wait_s = folder / NAME, wait_s
        self._open: IO[str] | None = None

    def __enter__(self) -> Self:
        """Lock the folder.

        Raises:
            ResumeError: naming the process, if another one holds it.
        """
        with writing(self._file.parent):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            if self._file.exists():
                check_regular(self._file, "the lock of a run", error=ResumeError)
            file = self._file.open("a+", encoding="utf-8")
        until = time.monotonic() + self._wait_s
        while not _lock(file):
            if time.monotonic() >= until:
                holder = _holder(file)
                file.close()
                raise ResumeError(
                    f"{self._file.parent} is in use: {holder} carries the run out there; wait until it has ended, or stop it first"
                )
            time.sleep(POLL_S)
        file.seek(0)
        file.truncate()
        json.dump({"process": os.getpid(), "machine": os.uname().nodename}, file)
        file.flush()
        self._open = file
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Let go of the folder."""
        if self._open is not None:
            self._open.close()
            self._open = None


def _lock(file: IO[str]) -> bool:
    """Return whether the file is locked now; on a file system without locks it counts as locked."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # such as some network shares
        return True
    return True


def _holder(file: IO[str]) -> str:
    try:
        file.seek(0)
        found = json.loads(file.read())
        return f"process {int(found['process'])} on {found['machine']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
