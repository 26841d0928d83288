"""Data files as bytes, unpacked from gzip or zstandard where they are packed."""

import gzip
import zlib
from pathlib import Path
from typing import Any

from ..errors import DataError

COMPRESSED = (".gz", ".zst", ".zstd")
ONCE_BYTES, MOST_RATIO = 64 * 2**20, 200  # what unpacks to more than the first may grow by no more than the second


def kind_of(name: str) -> str:
    """Return the ending that says what a file holds, without that of its compression: `.csv` for `notes.csv.gz`."""
    path = Path(name)
    return (Path(path.stem) if path.suffix.lower() in COMPRESSED else path).suffix.lower()


def stem_of(path: Path) -> str:
    """Return the name of a file without the endings that say its kind and its compression."""
    return (Path(path.stem) if path.suffix.lower() in COMPRESSED else path).stem


def content_of(path: Path) -> bytes:
    """Return the bytes of a file, unpacked.

    Raises:
        DataError: if it cannot be unpacked, or unpacks to more than is read.
    """
    ending = path.suffix.lower()
    if ending not in COMPRESSED:
        return path.read_bytes()
    import pyarrow as pa

    try:
        if ending == ".gz":
            with gzip.open(path) as unpacked:
                return _bounded(unpacked, path)
        with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as unpacked:
            return _bounded(unpacked, path)
    except (EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise DataError(
            f"{path} cannot be unpacked ({first_line(error)}); it may be incomplete or of another kind: copy it again"
        ) from error


def _bounded(unpacked: Any, path: Path) -> bytes:
    """Return all that a packed file holds, unless it is a few bytes that would fill the memory."""
    most = max(ONCE_BYTES, MOST_RATIO * path.stat().st_size)
    parts, total = [], 0
    while part := unpacked.read(2**20):
        parts.append(part)
        total += len(part)
        if total > most:
            raise DataError(
                f"{path} unpacks to more than {most:,} bytes, {MOST_RATIO} times its size; unpack it yourself if that is meant"
            )
    return b"".join(parts)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__
