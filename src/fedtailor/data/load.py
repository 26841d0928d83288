"""Examples from files, folders, hub ids, memory, or the libraries installed here."""

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath, readlink
from pathlib import Path

from ..errors import DataError
from ..records import Example
from ..text_files import check_regular, expanded
from .columns import Wanted, check_columns
from .docstrings import load_docstrings
from .hub import is_hub_id, read_hub
from .memory import table_in_memory, tables_of_clients
from .packed import kind_of, stem_of
from .picture_folder import picture_table, pictures_in
from .read import READERS, read_table
from .rows import to_examples
from .settings import PACKAGES
from .table import Table, from_rows
from .values import IMAGE

HOLD_PICTURES = (".parquet", ".npz")  # kinds of data files whose cells may be pictures
PART_NAMES = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
    "public": ("public",),
    "retained": ("retained",),
}

ADDRESS = re.compile(r"(^|/)(https?|s3|gs|hdfs|ftp|file):/")  # a path has lost one of its slashes


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The examples of one part, and what has to be said of them."""

    examples: list[Example] = field(default_factory=list)
    dropped: Mapping[str, int] = field(default_factory=dict)  # rows left out, by reason
    notes: Sequence[str] = ()


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
    """Return all examples of one part, with all columns of the data; see `load`. Running text, a task's only field, may be blank."""
    wanted = Wanted(
        required=required, optional=optional, columns=columns, may_be_empty=required if tuple(required) == ("text",) else ()
    )
    return load(source, wanted, base=base, part=part, given=given, packages=packages, package_limit=package_limit).examples


def load(
    source: object,
    wanted: Wanted,
    *,
    base: Path,
    part: str,
    given: object | None = None,
    packages: Sequence[str] = PACKAGES,
    package_limit: int | None = 1000,
) -> Loaded:
    """Return the examples of one part, in the order of the source; ids are the file's name (or `part`) and the row number from 0.

    Args:
        source: as `Data.train`: a path, a list of paths, a hub id, or `docstrings`. A folder stands for the files in it: of one
            kind (Parquet before CSV and so on), and if some are named train..., only those named after `part`.
        wanted: which columns are read, and which of them may be empty.
        base: folder that relative paths start from.
        part: train, validation, test or public.
        given: data in memory, in place of `source`: a table (a list of mappings or of Example, a pandas DataFrame, a datasets.Dataset,
            a pyarrow.Table), or a mapping from names of clients to tables.
        packages: libraries for `docstrings`, at most `package_limit` examples of each.

    Raises:
        DataError: if something is missing, unreadable or unfit; it names the file, the rows, the column and the remedy.
        SettingError: if a setting names a field or a column that is not there.
    """
    check_columns(wanted.columns, [*wanted.required, *wanted.optional, *wanted.elsewhere])
    if given is not None:
        tables = (
            tables_of_clients(given) if isinstance(given, Mapping) else iter([(part, table_in_memory(given, f"data[{part!r}]"))])
        )
    elif source == "docstrings":
        tables = iter([("docstrings", _docstring_table(packages, package_limit))])
    else:
        tables = _stored_tables(source, base, part, pictures=IMAGE in wanted.required)
    found = [to_examples(table, name, wanted) for name, table in tables]
    if faults := [one.faults for one in found if one.faults]:
        raise DataError("; ".join(faults))
    return Loaded(
        examples=[example for one in found for example in one.examples],
        dropped=sum((Counter(one.dropped) for one in found), Counter()),
        notes=[note for one in found for note in one.notes],
    )


def _docstring_table(packages: Sequence[str], package_limit: int | None) -> Table:
    found = load_docstrings(packages, package_limit)
    # text: both together, for tasks that model language
    rows = [{**example.fields, "text": f"{example.fields['input']}\n{example.fields['target']}"} for example in found]
    return from_rows(rows, "docstrings", lambda row: found[row].id, ids=[example.id for example in found])


def _stored_tables(source: object, base: Path, part: str, *, pictures: bool) -> Iterator[tuple[str, Table]]:
    if isinstance(source, str) and is_hub_id(source, base):
        yield part, table_in_memory(read_hub(source, part), source)
    elif pictures and (folder := _picture_folder(source, base, part)) is not None:
        yield folder.name, picture_table(folder, pictures_in(folder), part)
    else:
        for name, path in files_by_name(source, base, part).items():
            yield name, read_table(path)


def files_by_name(source: object, base: Path, part: str) -> dict[str, Path]:
    """Return the files of a part by the names that their examples are known by; raises as `load` does."""
    paths = _files(source, base, part)
    return dict(zip(_names(paths), paths, strict=True))


def _files(source: object, base: Path, part: str) -> list[Path]:
    sources = source if isinstance(source, list | tuple) else [source]
    paths: list[Path] = []
    for one in sources:
        if not isinstance(one, str | PathLike):
            raise DataError(f"data.{part} is {one!r}; expected a path, a list of paths, a hub id, or docstrings")
        path = expanded(base, fspath(one), f"data.{part}", error=DataError, dot=part != "retained")
        paths += _folder_files(path, part) if path.is_dir() else [path]
    for path in paths:
        if not path.exists():
            raise DataError(_missing_file(path, part))
        check_regular(path, f"data.{part}", error=DataError)
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise DataError(f"data.{part} names {twice} twice; name each file once")
    return paths


def _picture_folder(source: object, base: Path, part: str) -> Path | None:
    """Return the folder of pictures that a source names: itself, or of folders named train, test and so on that of the part; None if it is none."""
    folder = (
        expanded(base, fspath(source), f"data.{part}", error=DataError, dot=part != "retained")
        if isinstance(source, str | PathLike)
        else None
    )
    if folder is None or not folder.is_dir() or any(kind_of(path.name) in HOLD_PICTURES for path in folder.iterdir()):
        return None  # notes.txt or labels.json beside pictures are no data
    parts = {name: folder / name for names in PART_NAMES.values() for name in names if (folder / name).is_dir()}
    if "train" in parts:
        folder = next((parts[name] for name in PART_NAMES[part] if name in parts), folder)
    return folder if pictures_in(folder) else None


def _folder_files(folder: Path, part: str) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if kind_of(path.name) in READERS and not path.name.startswith((".", "_")))
    if any(path.stem.startswith("train") for path in files):
        files = [path for path in files if path.stem.startswith(PART_NAMES[part])]
    kinds = [kind_of(path.name) for path in files]
    best = next((kind for kind in READERS if kind in kinds), None)  # labels.json or notes.txt beside the data are no data
    files = [path for path, kind in zip(files, kinds, strict=True) if kind == best]
    if not files:
        seen = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise DataError(
            f"data.{part} is the folder {folder}, which has no data file for {part} (it has {seen}); give one of {', '.join(READERS)}"
        )
    return files


def _missing_file(path: Path, part: str) -> str:
    if ADDRESS.search(str(path)):
        return f"data.{part}: {path.parts[-1]} is named by an address, and nothing is fetched for a job: download it, and give the file"
    if path.is_symlink():
        return f"data.{part}: {path} is a link to {readlink(path)}, where there is no file; name the file itself"
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
        names = ["/".join([*path.parts[-depth:-1], stem_of(path)]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [path.name for path in paths]
