"""The user's cache: converted backbones, and hashes of files that are too long to read at every start."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..storage import sha256_of, text_sha256


def cache_folder() -> Path:
    """Return FEDTAILOR_CACHE, or ~/.cache/fedtailor; it is made when first written to."""
    named = os.environ.get("FEDTAILOR_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "fedtailor"


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


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex; computed once and noted in the cache with the file's size and time of change."""
    path = path.resolve()
    state = path.stat()
    note = cache_folder() / "hashes" / f"{text_sha256(str(path))[:32]}.json"
    key = {"path": str(path), "size": state.st_size, "changed_ns": state.st_mtime_ns}
    with suppress(OSError, ValueError, TypeError, AttributeError):
        noted = json.loads(note.read_text(encoding="utf-8"))
        if {name: noted.get(name) for name in key} == key:
            return str(noted["sha256"])
    sha256 = sha256_of(path)
    with suppress(OSError):  # a cache that cannot be written costs a second at the next start, no more
        note.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=note.parent, delete=False, encoding="utf-8") as fresh:
            json.dump({**key, "sha256": sha256}, fresh)
        Path(fresh.name).replace(note)
    return sha256
