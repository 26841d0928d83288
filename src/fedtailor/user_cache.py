"""The user's cache: where it is, and how what follows from private data is kept there, for this user alone."""

import errno
import hashlib
import os
import tempfile
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

UNUSED_DAYS = 30  # after which an entry is removed, when another one is written
PRIVATE_FOLDER = 0o700
MOST_FILES = 10_000  # in a folder whose state is asked for


def cache_folder() -> Path:
    """Return FEDTAILOR_CACHE, or ~/.cache/fedtailor; it is made when first written to."""
    named = os.environ.get("FEDTAILOR_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "fedtailor"


def token_folder() -> Path:
    """Return where tokenized parts are kept."""
    return cache_folder() / "tokens"


def plan_folder() -> Path:
    """Return where it is kept what `fedtailor check` found."""
    return cache_folder() / "plans"


def count_folder() -> Path:
    """Return where counts of steps are kept, which follow from models and not from data."""
    return cache_folder() / "counts"


def keep_private(file: Path, content: bytes) -> None:
    """Replace an entry as a whole, readable for this user alone, and remove entries beside it that nobody used for UNUSED_DAYS.

    Raises:
        OSError: if it cannot be written; nothing is left behind then.
    """
    folder = file.parent
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(PRIVATE_FOLDER)
    _remove_unused(folder)
    number, fresh = tempfile.mkstemp(dir=folder, prefix=".")  # readable for this user alone
    try:
        with open(number, "wb") as open_file:
            open_file.write(content)
        os.replace(fresh, file)
    except OSError:
        Path(fresh).unlink(missing_ok=True)
        raise


def file_state(path: Path) -> list[object] | None:
    """Return what changes when a file is written or replaced (size, inode, times); of a folder, a hash over all that is in it.

    None if there is nothing of that name.
    """
    try:
        found = path.stat()
        within = sorted(islice(path.rglob("*"), MOST_FILES)) if path.is_dir() else []
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as fault:
        return None if fault.errno == errno.ENAMETOOLONG else [time.time_ns()]
    if not path.is_dir():
        return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]
    if len(within) == MOST_FILES:  # too many to look at: never as it was, nor is what cannot be looked at
        return [time.time_ns()]
    digest = hashlib.sha256()
    for inner in within:
        digest.update(f"{inner}\n{None if inner.is_dir() else file_state(inner)}\n".encode("utf-8", "surrogatepass"))
    return [digest.hexdigest()]


def _remove_unused(folder: Path) -> None:
    oldest = time.time() - UNUSED_DAYS * 86400
    for path in folder.iterdir():
        with suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()
