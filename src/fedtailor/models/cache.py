"""The user's cache: converted backbones, and hashes of files that are too long to read at every start."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from ..storage import sha256_of, text_sha256
from ..user_cache import cache_folder, keep_private

Result = TypeVar("Result")


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a fresh folder to write to, and make it `target` in one step once the block ends well.

    If the block fails nothing is left. If somebody else made `target` meanwhile, theirs stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield fresh
        fresh.chmod(0o755)
        try:
            fresh.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def background(work: Callable[..., Result], *given: Any, **named: Any) -> Future[Result]:
    """Let work such as hashing, which leaves Python's lock alone, be done on another core; `result` of what is returned waits for it."""
    pool = ThreadPoolExecutor(max_workers=1)
    future = pool.submit(work, *given, **named)
    pool.shutdown(wait=False)
    return future


def file_sha256(path: Path, *, trust_times: bool = True) -> str:
    """Return the SHA-256 of a file in hex, and note it in the cache with the file's size, inode and times of change.

    Args:
        trust_times: whether a file that has all of these as noted is taken to be as it was; else every byte is read.
    """
    path = path.resolve()
    state = path.stat()
    note = cache_folder() / "hashes" / f"{text_sha256(str(path))[:32]}.json"
    key = {
        "path": str(path),
        "size": state.st_size,
        "inode": state.st_ino,
        "changed_ns": state.st_mtime_ns,
        "status_ns": state.st_ctime_ns,
    }
    if trust_times:
        with suppress(OSError, ValueError, TypeError, AttributeError):
            noted = json.loads(note.read_text(encoding="utf-8"))
            if {name: noted.get(name) for name in key} == key:
                return str(noted["sha256"])
    sha256 = sha256_of(path)
    with suppress(OSError):  # a cache that cannot be written costs a second at the next start, no more
        keep_private(note, json.dumps({**key, "sha256": sha256}).encode())
    return sha256
