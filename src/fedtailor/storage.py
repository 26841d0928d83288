"""Files that survive a power cut: written beside, synced, and put in place as a whole; a fault of the disk is named.

A fault here is no fault of a client, though it may arise while one is served.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .causes import UNKNOWN, cause_of
from .errors import JobError


class StorageError(JobError):
    """Something could not be written, as the disk is full, read-only or gone."""


@contextmanager
def writing(where: Path) -> Iterator[None]:
    """Turn a fault of the disk inside the block into a StorageError that names `where`, the cause and what to try.

    Raises:
        StorageError: see above.
    """
    try:
        yield
    except OSError as fault:
        raise StorageError(f"{cause_of(fault, f'{where} cannot be written')}. What is saved so far is whole") from fault
    except Exception as fault:
        if type(fault).__name__ != "SafetensorError" or cause_of(fault, "").name in (UNKNOWN, "damaged"):
            raise
        raise StorageError(f"{cause_of(fault, f'{where} cannot be written')}. What is saved so far is whole") from fault


def sync_file(path: Path) -> None:
    """Ask the system to put a file on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Ask the system to put a folder's list of names on disk, where it can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:  # some file systems cannot
        pass
    finally:
        os.close(descriptor)


def put_in_place(fresh: Path, target: Path) -> None:
    """Give a file that was written beside its place its name, once it is on disk."""
    sync_file(fresh)
    os.replace(fresh, target)
    sync_folder(target.parent)


def write_text(path: Path, text: str) -> None:
    """Replace a text file as a whole; see `write_bytes`."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file as a whole.

    Raises:
        StorageError: if it cannot be written; what was there stays.
    """
    fresh = path.with_name(f".{path.name}.new")
    with writing(path):
        try:
            fresh.write_bytes(content)
            put_in_place(fresh, path)
        except OSError:
            with suppress(OSError):
                fresh.unlink()
            raise


def copy_whole(source: Path, target: Path, *, last: str) -> None:
    """Copy all files of a folder into another one; the file `last`, if there is one, comes when all others are there.

    Raises:
        StorageError: if one cannot be written; `last` is not there then.
    """
    with writing(target):
        (target / last).unlink(missing_ok=True)
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=lambda folder, _: [last] if Path(folder) == source else [])
    if (source / last).is_file():
        write_text(target / last, (source / last).read_text(encoding="utf-8"))


def text_sha256(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
