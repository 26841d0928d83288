"""Rows of a data file: Parquet, CSV, TSV, JSON Lines, JSON and plain text."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import DataError

Row = Mapping[str, object]


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file, each a mapping from column to value; missing values are None or NaN.

    CSV values stay text, so that a target "007" or "None" is what it was; a text file has one column, text, a line a row.

    Raises:
        DataError: if the file is of another kind, cannot be read, or has no rows.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path} ends in {path.suffix!r}, which is no kind of data file known here; give one of {', '.join(READERS)}"
        )
    try:
        rows = reader(path)
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start} cannot be read); save it again as UTF-8") from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or _first_line(error)}; see that it exists and that you may read it"
        ) from error
    if not rows:
        raise DataError(f"{path} has no rows; give a file with at least one example")
    return rows


def _parquet(path: Path) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        if not path.is_file() or isinstance(error, PermissionError):
            raise
        raise DataError(
            f"{path} is not a readable Parquet file ({_first_line(error)}); it may be cut off or of another kind: "
            "copy or write it again, or name it by its kind (.csv, .jsonl)"
        ) from error
    repeated = {name for name in table.column_names if table.column_names.count(name) > 1}
    if repeated:
        raise DataError(
            f"{path} has several columns of the name {', '.join(sorted(repeated))}; rename them, so that each name comes once"
        )
    return list(table.to_pylist())


def _separated(path: Path, separator: str) -> list[Row]:
    import pandas as pd

    try:
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, na_values=["NaN", "nan"], encoding="utf-8-sig")
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty; the first line names the columns, each further line is a row") from error
    except pd.errors.ParserError as error:
        raise DataError(
            f"{path} is not a well-formed table ({_first_line(error)}); values that hold {separator!r}, quotes or line breaks "
            'must stand in double quotes: "like, this"'
        ) from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes a surplus value of every row for a row name
        raise DataError(
            f"{path}: the rows have more values than the {len(table.columns)} columns named in its first line; mend the header"
        )
    if len(table.columns) == 1 and re.search(r"[;\t|]", str(table.columns[0])):
        raise DataError(
            f"{path} has one column, {str(table.columns[0])!r}: its values seem to be separated by another sign than {separator!r}; "
            "save it with commas as .csv, or with tabs as .tsv"
        )
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _json_lines(path: Path) -> list[Row]:
    rows: list[Row] = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                rows.append(_object(_parsed(line, f"{path}, line {number}"), f"{path}, line {number}"))
    return rows


def _json(path: Path) -> list[Row]:
    text = path.read_text(encoding="utf-8-sig")
    if text.lstrip().startswith("{") and "\n{" in text.strip():
        return _json_lines(path)
    whole = _parsed(text, str(path))
    if not isinstance(whole, list):
        raise DataError(
            f'{path} holds one {_kind(whole)}; expected a list of objects, [{{"input": ..., "target": ...}}, ...], or one object a line'
        )
    return [_object(row, f"{path}, row {number}") for number, row in enumerate(whole)]


def _parsed(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise DataError(f"{where} is nested too deep to be read; expected an object with named fields in each row") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f'{where} is not valid JSON ({error.msg} at character {error.pos + 1}); expected an object such as {{"input": ..., "target": ...}}: '
            "was the file cut off?"
        ) from error


def _object(value: object, where: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(
            f'{where} holds a {_kind(value)}; expected an object with named fields, such as {{"input": ..., "target": ...}}'
        )
    return value


def _lines(path: Path) -> list[Row]:
    return [{"text": line} for line in path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")]


def _kind(value: object) -> str:
    return {dict: "object", list: "list", str: "text", bool: "truth value", type(None): "null"}.get(type(value), "number")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__


READERS: Mapping[str, Callable[[Path], list[Row]]] = {
    ".parquet": _parquet,
    ".csv": lambda path: _separated(path, ","),
    ".tsv": lambda path: _separated(path, "\t"),
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".txt": _lines,
}
