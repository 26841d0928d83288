"""Examples from files, folders, hub ids, memory, or the libraries installed here."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np

from ..errors import DataError
from ..records import Example
from ..text_files import check_regular, expanded
from .docstrings import load_docstrings
from .hub import is_hub_id, read_hub
from .read import READERS, Row, read_rows
from .rows import check_columns, to_examples
from .settings import PACKAGES

# a table's name, what errors call it, its rows, and their ids where these are more than the name and the row number
Table: TypeAlias = tuple[str, str, Sequence[Row], list[str]]

PART_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",), "public": ("public",)}


def load_examples(
    source: object,
    *,
    columns: Mapping[str, str],
    required: Sequence[str],
    optional: Sequence[str],
    base: Path,
    part: str,
    given: object | None = None,
    packages: Sequence[str] = PACKAGES,
    package_limit: int | None = 1000,
) -> list[Example]:
    """Return all examples of one part, in the order of the source; ids are the file's name (or `part`) and the row number.

    Args:
        source: as `Data.train`: a path, a list of paths, a hub id, or `docstrings`. A folder stands for the files in it: of one
            kind (Parquet before CSV and so on), and if some are named train..., only those named after `part`.
        columns: the task's name of a field -> column of the data.
        required: fields that every example must have.
        optional: fields that are taken where they are.
        base: folder that relative paths start from.
        part: train, validation, test or public.
        given: data in memory, in place of `source`: a list of mappings, a pandas DataFrame, a datasets.Dataset, or a mapping
            from names of clients to those.
        packages: libraries for `docstrings`, at most `package_limit` examples of each.

    Raises:
        DataError: if something is missing, unreadable or unfit; it names the file, the row, the column and the remedy.
        SettingError: if `columns` names a field that the task does not have.
    """
    check_columns(columns, [*required, *optional])
    examples: list[Example] = []
    if given is not None:
        tables = _tables_in_memory(given, part)
    elif source == "docstrings":
        tables = [_docstring_table(packages, package_limit)]
    else:
        tables = _stored_tables(source, base, part)
    for name, where, rows, ids in tables:
        numbered = ids or [f"{name}-{number}" for number in range(len(rows))]
        examples += to_examples(rows, numbered, where=where, columns=columns, required=required, optional=optional)
    return examples


def _tables_in_memory(given: object, part: str) -> Iterable[Table]:
    by_client = isinstance(given, Mapping) and all(isinstance(key, str) for key in given)
    for name, value in cast(Mapping[str, object], given).items() if by_client else [(part, given)]:
        rows, ids = _rows_in_memory(value, f"data[{name!r}]")
        yield name, f"data[{name!r}]", rows, ids


def _docstring_table(packages: Sequence[str], package_limit: int | None) -> Table:
    found = load_docstrings(packages, package_limit)
    # text: both together, for tasks that model language
    rows: list[Row] = [{**example.fields, "text": f"{example.fields['input']}\n{example.fields['target']}"} for example in found]
    return "docstrings", "docstrings", rows, [example.id for example in found]


def _stored_tables(source: object, base: Path, part: str) -> Iterable[Table]:
    if isinstance(source, str) and is_hub_id(source, base):
        yield part, source, read_hub(source, part), []
    else:
        paths = _files(source, base, part)
        for name, path in zip(_names(paths), paths, strict=True):
            yield name, str(path), read_rows(path), []


def _rows_in_memory(value: object, where: str) -> tuple[list[Row], list[str]]:
    ids: list[str] = []
    rows: object = value
    if hasattr(value, "to_dict") and hasattr(value, "iloc"):  # pandas
        rows = [{str(name): cell for name, cell in row.items()} for row in value.to_dict("records")]
    elif hasattr(value, "to_list"):  # datasets
        rows = value.to_list()
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        rows = list(value)
        if rows and all(isinstance(row, Example) for row in rows):
            ids, rows = [row.id for row in rows], [row.fields for row in rows]
    if not isinstance(rows, list) or not rows or not all(isinstance(row, Mapping) for row in rows):
        raise DataError(
            f"{where} is {'empty' if rows == [] else 'a ' + type(value).__name__}; expected at least one example, in a list of mappings "
            "such as [{'input': ..., 'target': ...}], a pandas DataFrame or a datasets.Dataset"
        )
    return [{name: _plain(cell) for name, cell in row.items()} for row in rows], ids


def _plain(cell: object) -> object:
    """Return a cell of a data frame as a file would hold it: lists for arrays, Python's numbers for NumPy's, None for pandas' NA."""
    if isinstance(cell, np.ndarray | np.generic):
        return _plain(cell.tolist())
    if isinstance(cell, list | tuple):
        return [_plain(one) for one in cell]
    if isinstance(cell, Mapping):
        return {name: _plain(one) for name, one in cell.items()}
    return None if type(cell).__name__ in ("NAType", "NaTType") else cell


def _files(source: object, base: Path, part: str) -> list[Path]:
    sources = source if isinstance(source, list | tuple) else [source]
    paths: list[Path] = []
    for one in sources:
        if not isinstance(one, str | PathLike):
            raise DataError(f"data.{part} is {one!r}; expected a path, a list of paths, a hub id, or docstrings")
        path = expanded(base, fspath(one), f"data.{part}", error=DataError)
        paths += _folder_files(path, part) if path.is_dir() else [path]
    for path in paths:
        if not path.exists():
            raise DataError(_missing_file(path, part))
        check_regular(path, f"data.{part}", error=DataError)
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise DataError(f"data.{part} names {twice} twice; name each file once")
    return paths


def _folder_files(folder: Path, part: str) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in READERS and not path.name.startswith((".", "_")))
    if any(path.stem.startswith("train") for path in files):
        files = [path for path in files if path.stem.startswith(PART_NAMES[part])]
    kinds = [path.suffix.lower() for path in files]
    best = next((kind for kind in READERS if kind in kinds), None)  # labels.json or notes.txt beside the data are no data
    files = [path for path, kind in zip(files, kinds, strict=True) if kind == best]
    if not files:
        seen = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise DataError(
            f"data.{part} is the folder {folder}, which has no data file for {part} (it has {seen}); give one of {', '.join(READERS)}"
        )
    return files


def _missing_file(path: Path, part: str) -> str:
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    if folder != path.parent:
        return f"data.{part}: there is no file {path}: the folder {folder} has no {path.relative_to(folder).parts[0]!r}; paths are relative to the job file"
    near = difflib.get_close_matches(path.name, [other.name for other in folder.iterdir()], n=1)
    hint = f"did you mean {near[0]!r}?" if near else "paths are relative to the job file"
    return f"data.{part}: there is no file {path}; {hint}"


def _names(paths: Sequence[Path]) -> list[str]:
    """Return a name per file, all different: its own without the suffix, with folders where that is not enough."""
    for depth in range(1, max((len(path.parts) for path in paths), default=0) + 1):
        names = ["/".join([*path.parts[-depth:-1], path.stem]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [path.name for path in paths]
