"""Single files of a run folder: written, hashed, synced and looked at."""

import os
from pathlib import Path

import pandas as pd

from ..errors import DataError, ResumeError
from ..printable import json_text
from ..run_files import WHAT, finite
from ..storage import sha256_of, sync_file, sync_folder
from ..text_files import check_regular


def replace_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table in the place of one that may be there, as a whole."""
    fresh = path.with_name(f".{path.name}.new")
    table.to_parquet(fresh, index=False)
    os.replace(fresh, path)


def file_text(value: object) -> str:
    """Return a value as the text of a JSON file."""
    return json_text(finite(value), indent=2, default=str, allow_nan=False) + "\n"


def hashes_in(folder: Path) -> dict[str, str]:
    """Return the hash of each file of a checkpoint.

    Raises:
        DataError: if one is no regular file.
    """
    files = sorted(path for path in folder.iterdir() if path.name != "hashes.json")
    for path in files:
        check_regular(path, WHAT, error=DataError)  # a pipe would be waited at
    return {path.name: sha256_of(path) for path in files}


def sync_all(folder: Path) -> None:
    """Ask the system to put the files on disk before the folder gets its name."""
    for path in folder.iterdir():
        sync_file(path)
    sync_folder(folder)


def identity(path: Path) -> tuple[int, int] | None:
    """Return what distinguishes one file from another of the same name; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def cut_torn_line(file: Path) -> None:
    """Drop what a process that was killed while it wrote left behind the last whole line."""
    if not file.exists():
        return
    check_regular(file, WHAT, error=ResumeError)  # a pipe would be waited at
    content = file.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(file, whole)


def files_at(path: Path) -> list[Path]:
    """Return a file, or all files in a folder; none if there is nothing."""
    return sorted(inner for inner in path.rglob("*") if inner.is_file()) if path.is_dir() else [path] if path.is_file() else []


def rows_in(file: Path) -> int:
    """Return how many rows a table has; 0 if it is not there or cannot be read."""
    import pyarrow.parquet

    try:
        return int(pyarrow.parquet.ParquetFile(file).metadata.num_rows) if file.is_file() else 0
    except (OSError, ValueError):
        return 0
