"""A limit on the memory that a program of others' may take: a chat template may write a text of gigabytes in one step."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATM = Path("/proc/self/statm")  # Linux: sizes of this process, in pages; the first is of its addresses


class _Bound:
    """The system's limit on the addresses of this process, while at least one block asks for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = 0
        self._before = (0, 0)

    def begin(self, most_bytes: int) -> None:
        """Limit the process to what it has and so many bytes more; a block inside of another one has that one's limit."""
        import resource

        with self._lock:
            self._blocks += 1
            if self._blocks > 1:
                return
            self._before = soft, hard = resource.getrlimit(resource.RLIMIT_AS)
            wanted = int(STATM.read_text().split()[0]) * resource.getpagesize() + most_bytes
            ceilings = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
            resource.setrlimit(resource.RLIMIT_AS, (min([wanted, *ceilings]), hard))

    def end(self) -> None:
        """Take the limit away with the last block."""
        import resource

        with self._lock:
            self._blocks -= 1
            if not self._blocks:
                resource.setrlimit(resource.RLIMIT_AS, self._before)


_BOUND = _Bound()


@contextmanager
def memory_limit(most_bytes: int) -> Iterator[None]:
    """Raise MemoryError in a block that takes more than so many bytes; on Linux alone, elsewhere nothing is limited.

    It is the process that is limited: what other threads take in the meantime counts too.
    """
    if sys.platform != "linux" or not STATM.exists():
        yield
        return
    _BOUND.begin(most_bytes)
    try:
        yield
    finally:
        _BOUND.end()
