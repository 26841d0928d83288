"""A data file as a table: CSV, TSV, JSON, JSON Lines, Parquet, Excel, NumPy's .npz and plain text, also compressed with gzip or zstandard."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import DataError
from .arrays import npz_table
from .arrow import parquet_table
from .excel import excel_table
from .json_rows import json_array, json_lines
from .packed import content_of, first_line, kind_of
from .separated import comma_separated, tab_separated
from .table import Table, from_rows

OTHER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00\xfe\xff": "UTF-32"}
CONTENTS = {  # the first bytes of files that are no text, and what they are
    b"\x1f\x8b": "packed with gzip: add .gz to its name",
    b"\x28\xb5\x2f\xfd": "packed with zstandard: add .zst to its name",
    b"BZh": "packed with bzip2: unpack it, or pack it with gzip",
    b"\xfd7zXZ": "packed with xz: unpack it, or pack it with gzip",
    b"PAR1": "a Parquet file: name it .parquet",
    b"PK\x03\x04": "an Excel workbook or a zip archive: name it .xlsx, or unpack it",
    b"\xd0\xcf\x11\xe0": "a workbook of an old Excel: save it as .xlsx",
    b"ARROW1": "an Arrow file: save it as .parquet",
    b"SQLite format 3": "a database of SQLite: export the table as .csv",
    b"%PDF": "a PDF: export the table as .csv",
    b"\x89HDF": "an HDF5 file: save it as .parquet",
    b"\x80\x04": "a pickle, which is never opened: save it as .parquet",
    b"\x80\x05": "a pickle, which is never opened: save it as .parquet",
}
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
            f"{path} cannot be read: {error.strerror or first_line(error)}; see that it exists and that you may read it"
        ) from error
    if not table.size:
        raise DataError(f"{path} has no rows; give a file with at least one example")
    return table


def _parquet(path: Path) -> Table:
    import pyarrow as pa

    source = path if path.suffix.lower() == ".parquet" else pa.BufferReader(content_of(path))
    try:
        return parquet_table(source, str(path))
    except DataError:
        raise
    except (pa.ArrowException, OSError) as error:
        if not path.is_file() or isinstance(error, PermissionError):
            raise
        raise DataError(
            f"{path} is not a readable Parquet file ({first_line(error)}); it may be incomplete or of another kind: "
            "copy or write it again, or name it by its kind (.csv, .jsonl)"
        ) from error


def _excel(path: Path) -> Table:
    return excel_table(content_of(path), str(path))


def _lines(path: Path) -> Table:
    lines = io.StringIO(_text(path), newline=None).read().removesuffix("\n").split("\n")
    return from_rows([{"text": line} for line in lines], str(path), lambda row: f"line {row + 1}")


def _in_text(reader: Callable[[str, str], Table]) -> Callable[[Path], Table]:
    return lambda path: reader(_text(path), str(path))


def _text(path: Path) -> str:
    """Return the text of a file in UTF-8, with or without the mark that spreadsheets put first."""
    content = content_of(path)
    for mark, name in OTHER_MARKS.items():
        if content.startswith(mark):
            raise DataError(f"{path} is saved as {name} (it begins with {mark.hex(' ')}), not as UTF-8; save it again as UTF-8")
    for mark, name in CONTENTS.items():
        if content.startswith(mark):
            raise DataError(f"{path} is no text, as its name says: by its first bytes it is {name}")
    try:
        return content.decode("utf-8-sig").lstrip("\ufeff")  # twice, where a tool has put its own before another's
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} is not UTF-8 text: byte {content[error.start]:#04x} in line {line} cannot be read, as in a file saved as Windows-1252 or "
            "Latin-1; save it again as UTF-8"
        ) from error


READERS: Mapping[str, Callable[[Path], Table]] = {
    ".parquet": _parquet,
    ".csv": _in_text(comma_separated),
    ".tsv": _in_text(tab_separated),
    ".jsonl": _in_text(json_lines),
    ".ndjson": _in_text(json_lines),
    ".json": _in_text(json_array),
    ".xlsx": _excel,
    ".npz": npz_table,
    ".txt": _lines,
}
