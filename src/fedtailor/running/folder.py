"""The folder of one run: what is written there, and how it is read back after a stop."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..causes import detail_of
from ..errors import DataError, ResumeError
from ..printable import json_text
from ..records import ServerState
from ..run_files import ABSENT, SEALS, finite, read_json_file, sealed_hashes
from ..storage import StorageError, put_in_place, sha256_of, sync_file, sync_folder, text_sha256, write_text, writing
from ..tensors import Tensors
from .folder_files import cut_torn_line, file_text, files_at, hashes_in, identity, replace_table, rows_in, sync_all
from .lock import NAME as LOCK
from .progress import TABLES, Progress

CHECKPOINTS_KEPT = 2
UNBEGUN = (LOCK, SEALS)  # what a process that was killed before its first file leaves in a folder


class RunFolder:
    """Writes and reads the files of one run; every file is replaced as a whole or, events, appended to."""

    def __init__(self, path: Path) -> None:
        """Take a folder that exists, or whose parents can be made."""
        self.path = path
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            self._identity = identity(path)
            cut_torn_line(path / "events.jsonl")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Let something be written to the folder inside the block; what goes wrong is a StorageError that names it.

        Raises:
            StorageError: if the disk is full or read-only, or the folder is no longer where it was.
        """
        with writing(self.path):
            if identity(self.path) != self._identity:
                raise StorageError(
                    f"{self.path} is another folder than when the run began: it was moved, deleted or replaced meanwhile; the run stops. "
                    "Where the folder was moved to, fedtailor run --resume FOLDER continues it"
                )
            yield

    def event(self, kind: str, **facts: object) -> None:
        """Append one line to events.jsonl."""
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": kind, **facts}
        with self.writing(), (self.path / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json_text(finite(line), default=str, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Replace one text file as a whole."""
        with self.writing():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            write_text(target, text)

    def write_settings(self, texts: Mapping[str, str]) -> None:
        """Replace files that must not change between two starts; their hashes are sealed, and nothing else is any more.

        Killed at any moment, the folder's seals fit its files, the old or the new ones.
        """
        fresh = {name: [text_sha256(text)] for name, text in texts.items()}
        before = {name: [ABSENT] for name in texts if not (self.path / name).exists()} | sealed_hashes(self.path)
        self.write_json(SEALS, {name: [*before.get(name, []), *hashes] for name, hashes in fresh.items()})
        for name, text in texts.items():
            self.write_text(name, text)
        self.write_json(SEALS, fresh)

    def seal(self, names: Iterable[str]) -> None:
        """Seal further files, and all files of further folders, as they are now."""
        with self.writing():
            paths = [path for name in names for path in files_at(self.path / name)]
            for path in paths:
                sync_file(path)
            hashes = {path.relative_to(self.path).as_posix(): [sha256_of(path)] for path in paths}
        self.write_json(SEALS, sealed_hashes(self.path) | hashes)

    def write_json(self, name: str, value: object) -> None:
        """Replace one JSON file as a whole."""
        self.write_text(name, file_text(value))

    def copy_text(self, source: str, name: str) -> None:
        """Replace one text file as a whole by a copy of another of the run's, if that is there."""
        if source != name and (self.path / source).is_file():
            self.write_text(name, (self.path / source).read_text(encoding="utf-8"))

    def write_lines(self, name: str, rows: Iterable[Mapping[str, object]]) -> None:
        """Replace one JSON Lines file as a whole."""
        self.write_text(name, "".join(json_text(row) + "\n" for row in rows))

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Replace one Parquet file as a whole."""
        with self.writing():
            replace_table(self.path / f"{name}.parquet", table)

    def write_rows(self, name: str, rows: Iterable[Mapping[str, object]]) -> None:
        """Replace one Parquet file as a whole by these rows."""
        self.write_table(name, pd.DataFrame(list(rows)))

    def write_model(self, name: str, save: Callable[[Path], None]) -> None:
        """Let `save` write a folder of the result; it is replaced as a whole."""
        with self.writing():
            target, fresh = self.path / name, self.path / f".{name}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            save(fresh)
            if target.is_dir():
                shutil.rmtree(target)
            os.replace(fresh, target)

    def client(self, client: str) -> Path:
        """Return the folder of one client: in simulation, what in deployment stays with it."""
        return self.path / "clients" / client

    def save(self, progress: Progress) -> None:
        """Write a checkpoint as a whole, keep the one before it, and bring the tables up to date."""
        with self.writing():
            self._save(progress)

    def _save(self, progress: Progress) -> None:
        home = self.path / "checkpoint"
        version = progress.state.version
        fresh = home / f".new-{version:06d}"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        save_file(dict(progress.state.shared), fresh / "shared.safetensors")
        save_file(dict(progress.state.method), fresh / "method.safetensors")
        if progress.best is not None and progress.best is not progress.state.shared:
            save_file(dict(progress.best), fresh / "best.safetensors")
        saved = {"version": version, "figures": progress.figures, "has_best": progress.best is not None}
        (fresh / "progress.json").write_text(json.dumps(saved))
        for name in TABLES:
            replace_table(fresh / f"{name}.parquet", pd.DataFrame(progress.rows[name]))
            self.write_rows(name, progress.rows[name])
        (fresh / "hashes.json").write_text(json.dumps(hashes_in(fresh)))
        sync_all(fresh)
        target = home / f"{version:06d}"
        if target.exists():  # a stop that was finished is written again under the same version
            shutil.rmtree(target)
        os.replace(fresh, target)
        sync_folder(home)
        self._remove_old()

    def load(self, notify: Callable[..., None]) -> Progress | None:
        """Return the newest whole checkpoint, or None if there is none; a damaged one is passed over, and an event says so.

        What a run that was killed while it saved has left of older ones is removed.

        Raises:
            ResumeError: if there are checkpoints, and all are damaged.
        """
        for path in reversed(self._checkpoints()):
            try:
                if read_json_file(path / "hashes.json") == hashes_in(path):
                    progress = _read(path)
                    if path in self._checkpoints()[-CHECKPOINTS_KEPT:]:
                        self._remove_old()
                    return progress
                reason = "a hash does not fit"
            except (OSError, ValueError, KeyError, TypeError, DataError) as error:
                reason = str(error).rstrip(".") if isinstance(error, DataError) else detail_of(error)
            notify("damaged-checkpoint", text=f"checkpoint {path.name} is damaged ({reason}); the one before it is used")
        if self._checkpoints():
            raise ResumeError(f"all checkpoints in {self.path / 'checkpoint'} are damaged; start a new run in another folder")
        if rows_in(self.path / "rounds.parquet"):
            raise ResumeError(
                f"{self.path} has rounds behind it, and its checkpoints are gone from {self.path / 'checkpoint'}; put back a copy, or start a new run "
                "in another folder"
            )
        return None

    def write_start(self, tensors: Tensors) -> str:
        """Keep the shared weights before round 1, and return the hash of the file."""
        file = self._start
        with self.writing():
            file.parent.mkdir(parents=True, exist_ok=True)
            fresh = file.with_suffix(".new")
            save_file(dict(tensors), fresh)
            put_in_place(fresh, file)
            return sha256_of(file)

    def read_start(self, hash: str) -> dict[str, Tensor]:
        """Return what `write_start` kept.

        Raises:
            ResumeError: if it is missing or damaged.
        """
        if not self._start.is_file() or sha256_of(self._start) != hash:
            raise ResumeError(
                f"{self._start}, the weights before round 1, is missing or damaged, and evaluation.local_only trains from them; put "
                "back a copy, or start a new run"
            )
        tensors: dict[str, Tensor] = load_file(self._start)
        return tensors

    @property
    def _start(self) -> Path:
        return self.path / "checkpoint" / "start.safetensors"

    def _remove_old(self) -> None:
        for old in self._checkpoints()[:-CHECKPOINTS_KEPT]:
            shutil.rmtree(old)

    def _checkpoints(self) -> list[Path]:
        return sorted(path for path in (self.path / "checkpoint").glob("[0-9]*") if path.is_dir())


def choose_folder(out: Path | None, name: str) -> Path:
    """Return the path of a new run folder, not yet made: `out`, which must be absent or empty, or runs/NAME-TIME.

    Raises:
        ResumeError: if `out` holds files already.
    """
    path = out or Path("runs") / f"{name}-{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}"
    if path.is_symlink() and not path.exists():
        raise ResumeError(f"{path} is a link that leads nowhere, or round in a circle; name another folder with --out")
    place = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise ResumeError(f"{path} cannot be written: {place} is no folder that may be written to; name another with --out")
    if path.is_dir() and any(inner.name not in UNBEGUN and not inner.name.startswith(".") for inner in path.iterdir()):
        raise ResumeError(f"{path} is not an empty folder; name another with --out, or continue that run with --resume {path}")
    return path


def _read(path: Path) -> Progress:
    saved = json.loads((path / "progress.json").read_text())
    shared = load_file(path / "shared.safetensors")
    best = load_file(path / "best.safetensors") if (path / "best.safetensors").exists() else shared
    state = ServerState(version=saved["version"], shared=shared, method=load_file(path / "method.safetensors"))
    rows = {name: _records(pd.read_parquet(path / f"{name}.parquet")) for name in TABLES}
    return Progress(state=state, best=best if saved["has_best"] else None, figures=saved["figures"], rows=rows)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows, without the empty cells that a row never had."""
    return [{str(k): v for k, v in row.items() if v is not None and v == v} for row in table.to_dict("records")]  # noqa: PLR0124
