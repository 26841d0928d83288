"""A data file as a table: CSV, TSV, JSON, JSON Lines, Parquet, Excel and plain text, also compressed with gzip or zstandard."""

import gzip
import io
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from .arrow import parquet_table
from .excel import excel_table
from .json_rows import json_array, json_lines
from .separated import comma_separated, tab_separated
from .table import Table, from_rows

COMPRESSED = (".gz", ".zst", ".zstd")
ONCE_BYTES, MOST_RATIO = 64 * 2**20, 200  # what unpacks to more than the first may grow by no more than the second
OTHER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00\xfe\xff": "UTF-32"}
ELSEWHERE = {  # ending -> how to get there from here
    ".xls": "save it as .xlsx",
    ".xlsm": "save it as .xlsx",
    ".ods": "save it as .xlsx or .csv",
    ".feather": "save it as .parquet",
    ".arrow": "save it as .parquet",
    ".zip": "unpack it, or pack it with gzip",
    ".bz2": "pack it with gzip",
    ".xz": "pack it with gzip",
}


def kind_of(name: str) -> str:
    """Return the ending that says what a file holds, without that of its compression: `.csv` for `notes.csv.gz`."""
    path = Path(name)
    return (Path(path.stem) if path.suffix.lower() in COMPRESSED else path).suffix.lower()


def stem_of(path: Path) -> str:
    """Return the name of a file without the endings that say its kind and its compression."""
    return (Path(path.stem) if path.suffix.lower() in COMPRESSED else path).stem


def read_table(path: Path) -> Table:
    """Return the table of a file.

    Raises:
        DataError: if the file is of another kind, cannot be read, or has no rows.
    """
    kind = kind_of(path.name)
    reader = READERS.get(kind)
    if reader is None:
        advice = ELSEWHERE.get(kind) or f"give one of {', '.join(READERS)}, or one of these with .gz or .zst"
        raise DataError(f"{path} ends in {path.suffix!r}, which is no kind of data file known here; {advice}")
    try:
        table = reader(path)
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or _first_line(error)}; see that it exists and that you may read it"
        ) from error
    if not table.size:
        raise DataError(f"{path} has no rows; give a file with at least one example")
    return table


def _parquet(path: Path) -> Table:
    import pyarrow as pa

    source = path if path.suffix.lower() == ".parquet" else pa.BufferReader(_content(path))
    try:
        return parquet_table(source, str(path))
    except DataError:
        raise
    except (pa.ArrowException, OSError) as error:
        if not path.is_file() or isinstance(error, PermissionError):
            raise
        raise DataError(
            f"{path} is not a readable Parquet file ({_first_line(error)}); it may be cut off or of another kind: "
            "copy or write it again, or name it by its kind (.csv, .jsonl)"
        ) from error


def _excel(path: Path) -> Table:
    return excel_table(io.BytesIO(_content(path)), str(path))


def _lines(path: Path) -> Table:
    lines = io.StringIO(_text(path), newline=None).read().removesuffix("\n").split("\n")
    return from_rows([{"text": line} for line in lines], str(path), lambda row: f"line {row + 1}")


def _in_text(reader: Callable[[str, str], Table]) -> Callable[[Path], Table]:
    return lambda path: reader(_text(path), str(path))


def _text(path: Path) -> str:
    """Return the text of a file in UTF-8, with or without the mark that spreadsheets put first."""
    content = _content(path)
    for mark, name in OTHER_MARKS.items():
        if content.startswith(mark):
            raise DataError(f"{path} is saved as {name} (it begins with {mark.hex(' ')}), not as UTF-8; save it again as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} is not UTF-8 text: byte {content[error.start]:#04x} in line {line} cannot be read, as in a file saved as Windows-1252 or "
            "Latin-1; save it again as UTF-8"
        ) from error


def _content(path: Path) -> bytes:
    """Return the bytes of a file, unpacked."""
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
            f"{path} cannot be unpacked ({_first_line(error)}); it may be cut off or of another kind: copy it again"
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


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__


READERS: Mapping[str, Callable[[Path], Table]] = {
    ".parquet": _parquet,
    ".csv": _in_text(comma_separated),
    ".tsv": _in_text(tab_separated),
    ".jsonl": _in_text(json_lines),
    ".ndjson": _in_text(json_lines),
    ".json": _in_text(json_array),
    ".xlsx": _excel,
    ".txt": _lines,
}
