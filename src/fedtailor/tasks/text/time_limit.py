"""A limit on the time that a program of others' may take: a chat template may loop for ever, in any thread."""

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOOK_S = 0.25  # how often running blocks are looked at
IDLE_S = 5.0  # without any block, after which the watching thread ends


class TookTooLong(Exception):
    """A block has not ended in time."""


class _Watch:
    """Watches blocks, one a thread, from a thread of its own; entering a block costs microseconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[int, float] = {}  # thread -> moment by which its block must have ended
        self._thread: threading.Thread | None = None
        self._used = 0.0

    def begin(self, seconds: float) -> None:
        """Note that the present thread's block begins."""
        with self._lock:
            self._used = time.monotonic()
            self._ends[threading.get_ident()] = self._used + seconds
            if self._thread is None or not self._thread.is_alive():  # a forked process has none
                self._thread = threading.Thread(target=self._look, name="time-limit", daemon=True)
                self._thread.start()

    def end(self) -> bool:
        """Note that it has ended, and return whether that was in time."""
        with self._lock:
            return self._ends.pop(threading.get_ident(), None) is not None

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_S)
            with self._lock:
                now = time.monotonic()
                for thread in [thread for thread, end in self._ends.items() if now > end]:
                    del self._ends[thread]
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TookTooLong))
                if not self._ends and now > self._used + IDLE_S:
                    self._thread = None
                    return


_WATCH = _Watch()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TookTooLong in a block of Python code that runs longer than so many seconds; a single call into C is waited for.

    Blocks are not nested within a thread.
    """
    _WATCH.begin(seconds)
    try:
        yield
    finally:
        if not _WATCH.end():
            for _ in range(1000):  # the exception comes between two steps of Python: here at the latest, not behind the block
                time.sleep(0)
