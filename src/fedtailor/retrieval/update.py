"""Makes and updates an index: only what has changed is read, cut and embedded, and the new version takes the old one's place in one step.

Killed at any moment, the old or the new version answers. What was embedded until then is kept in `work/`, so a next start continues.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..storage import writing
from .documents import SourceFile
from .embedder import Embedder
from .index import Index, check_fits, is_index, open_index
from .passages import Chunks, Passage, cut
from .write import FRESH, WORK, Change, Progress, write_version

try:
    import fcntl
except ImportError:  # no Unix: nothing keeps a second process out
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"
UNKNOWN = 0.3  # share of unknown tokens from which a file is named


@dataclass(frozen=True, kw_only=True)
class Updated:
    """What an update did."""

    passages: int
    documents: int
    embedded: int  # passages whose vector was not known
    added: Sequence[str]  # names of files
    changed: Sequence[str]
    removed: Sequence[str]
    unchanged: int
    notes: Sequence[str]  # a sentence for each thing that could not be read, also of earlier updates


def update_index(
    folder: Path,
    files: Sequence[SourceFile],
    embedder: Embedder,
    chunks: Chunks | None = None,
    progress: Progress = lambda what, done, of: None,
) -> Updated:
    """Let the index in a folder hold the documents of these files and no others, and return what was done for it.

    Raises:
        SettingError: if the index there is of another embedder or cut otherwise.
        DataError: if another process updates it now.
        StorageError: if it cannot be written.
    """
    chunks = chunks or Chunks()
    with writing(folder), _locked(folder):
        old = open_index(folder) if is_index(folder) else None
        if old is not None:
            check_fits(old.meta, folder, embedder, chunks)
        _remove_leftovers(folder, old)
        plan = _plan(old, files)
        entries: dict[str, dict[str, Any]] = {name: dict(old.files[name]) for name in plan.unchanged} if old else {}
        passages: list[Passage] = []
        for number, file in enumerate(plan.fresh):
            progress("files read", number, len(plan.fresh))
            found, entries[file.name] = _read(file, embedder, chunks)
            passages += found
        kept = _kept_rows(old, plan.unchanged)
        is_same = old is not None and not plan.fresh and len(plan.unchanged) == len(old.files)
        change = Change(old=old, kept=kept, passages=passages, entries=entries, embedder=embedder, chunks=chunks)
        embedded = 0 if is_same else write_version(folder, change, progress)
        shutil.rmtree(folder / WORK, ignore_errors=True)
    documents = sum(entry["documents"] for entry in entries.values())
    return Updated(
        passages=len(kept) + len(passages),
        documents=documents,
        embedded=embedded,
        added=[file.name for file in plan.fresh if old is None or file.name not in old.files],
        changed=[file.name for file in plan.fresh if old is not None and file.name in old.files],
        removed=[] if old is None else sorted(set(old.files) - set(entries)),
        unchanged=len(plan.unchanged),
        notes=[note for name in sorted(entries) for note in entries[name]["notes"]],
    )


@dataclass(frozen=True, kw_only=True)
class _Plan:
    unchanged: Sequence[str]
    fresh: Sequence[SourceFile]


def _plan(old: Index | None, files: Sequence[SourceFile]) -> _Plan:
    known = {name: entry["sha256"] for name, entry in old.files.items()} if old else {}
    fresh = [file for file in files if not file.sha256 or known.get(file.name) != file.sha256]
    again = {file.name for file in fresh}
    return _Plan(unchanged=[file.name for file in files if file.name not in again], fresh=fresh)


def _read(file: SourceFile, embedder: Embedder, chunks: Chunks) -> tuple[list[Passage], dict[str, Any]]:
    """Return the passages of a file, and what the index notes of it."""
    reading = file.read()
    found: list[Passage] = []
    tokens = unknown = 0
    for document in reading.documents:
        spans, strange = embedder.spans(document.text)
        tokens, unknown = tokens + len(spans), unknown + strange
        found += cut(document, file.name, chunks, spans)
    notes = list(reading.notes)
    if tokens and unknown / tokens > UNKNOWN:
        notes.append(
            f"{file.name}: {embedder.name} does not know {unknown / tokens:.0%} of its tokens, as in a script that it was not trained on; it is "
            "found by its words alone"
        )
    return found, {"sha256": file.sha256, "documents": len(reading.documents), "notes": notes}


def _kept_rows(old: Index | None, names: Sequence[str]) -> list[int]:
    if old is None:
        return []
    kept = set(names)
    return [row for row, file in enumerate(old.passages.column("file").to_pylist()) if file in kept]


def _remove_leftovers(folder: Path, old: Index | None) -> None:
    """Remove what an update left that was killed: all but the version that answers, and what was embedded."""
    for path in folder.iterdir():
        is_version = path.name.startswith("v") and path.name[1:].isdecimal()
        if path.name == FRESH or (is_version and (old is None or path.name != old.meta.version)):
            shutil.rmtree(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    if not is_index(folder) and not (folder / LOCK).exists() and any(folder.iterdir()):
        raise DataError(f"{folder} holds other files and no index; name an empty folder, or one that is not there yet")
    with (folder / LOCK).open("a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(
                    f"the index {folder} is updated by another process; wait until it has ended, or stop it first"
                ) from None
            except OSError:  # such as some network shares
                pass
        yield
