"""What a client keeps from round to round."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import DataError, ResumeError
from ..printable import json_text
from ..records import ClientId
from ..run_files import read_json_file
from ..storage import put_in_place, sha256_of, writing
from ..tensors import Tensors

HASHES = "states.json"  # of the files of a client's state, by version
PART = "//"  # between the name of a part of what a client keeps and that of a tensor
VERSIONS_KEPT = 3  # of the two checkpoints that are kept, and of a round under way: a client that is ahead rolls back


@dataclass(kw_only=True)
class Store:
    """What one client keeps. It lives in its folder and nowhere else; without a folder, in memory."""

    id: ClientId
    folder: Path | None = None
    brief: dict[str, Any] = field(default_factory=dict)  # what it holds for the length of a round, in memory and nowhere else
    _memory: dict[int, Tensors] = field(default_factory=dict)
    _listed: dict[str, list[str]] | None = None  # as in HASHES, once it was read
    _sure: set[int] = field(default_factory=set)  # versions whose files are known to be whole

    def recall(self, version: int, part: str = "") -> Tensors:
        """Return what the client kept when the shared weights had `version`, or last before it; empty if nothing.

        Args:
            part: whose it is: "" for the protocol, a name for what stands at the client's border.
        """
        kept = self._read(version, lambda name: name.rpartition(PART)[0] == part)
        return {name.rpartition(PART)[2]: value for name, value in kept.items()}

    def kept_at(self, version: int) -> int | None:
        """Return the version of what `recall(version)` returns; None if nothing is kept."""
        return max((v for v in self._versions() if v <= version), default=None)

    def check(self, version: int) -> None:
        """Check that what was kept with `version` is there, as it was written; once in a process.

        Raises:
            ResumeError: naming the file, if it is lost or damaged.
        """
        if self.folder is None or version in self._sure:
            return
        file, hashes = self._path(version), self._hashes().get(str(version))
        if not file.is_file():
            raise ResumeError(
                f"{file}, what client {self.id} keeps between rounds, is missing; put back a copy, or start a new run"
            )
        if hashes is not None and sha256_of(file) not in hashes:
            raise ResumeError(
                f"{file}, what client {self.id} keeps between rounds, was changed or damaged since it was written; put back a copy, or start a new run"
            )
        self._sure.add(version)

    def keep(self, version: int, tensors: Tensors, part: str = "") -> None:
        """Keep `tensors` as the state that goes with `version` of the shared weights; older ones but one are let go.

        Args:
            part: whose they are; what others kept at this version, or last before it, stays.
        """
        others = self._read(version, lambda name: name.rpartition(PART)[0] != part)
        tensors = others | {f"{part}{PART}{name}" if part else name: value for name, value in tensors.items()}
        stale = [v for v in self._versions() if v != version][: -(VERSIONS_KEPT - 1)]
        if self.folder is None:
            self._memory[version] = tensors
            for old in stale:
                del self._memory[old]
            return
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            fresh = self._path(version).with_suffix(".new")
            save_file(dict(tensors), fresh)
            hashes, name = self._hashes() or self._hash_all(), str(version)
            now = [sha256_of(fresh)]
            if name in hashes:  # it is replaced: killed in between, the old one counts
                self._write_hashes(hashes | {name: [*hashes[name][-1:], *now]})
            put_in_place(fresh, self._path(version))
            kept = {key: value for key, value in hashes.items() if int(key) not in stale}
            self._write_hashes(kept | {name: now})
            self._sure.add(version)
            for old in stale:
                self._path(old).unlink(missing_ok=True)

    def roll_back(self, version: int) -> None:
        """Forget what was kept after `version`: the rounds that it belongs to did not reach a checkpoint."""
        ahead = [v for v in self._versions() if v > version]
        if self.folder is None:
            for one in ahead:
                del self._memory[one]
        elif ahead:
            with writing(self.folder):
                for one in ahead:
                    self._path(one).unlink(missing_ok=True)
                self._write_hashes({name: hashes for name, hashes in self._hashes().items() if int(name) not in ahead})

    def write_texts(self, name: str, texts: Sequence[Mapping[str, object]]) -> None:
        """Write texts of the client's own (what was generated from its examples) to its folder, if it has one."""
        if self.folder is None or not texts:
            return
        lines = "".join(json_text(text) + "\n" for text in texts)
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            fresh = self.folder / f".{name}.new"
            fresh.write_text(lines, encoding="utf-8")
            os.replace(fresh, self.folder / f"{name}.jsonl")

    def write_file(self, name: str, write: Callable[[Path], None]) -> None:
        """Let `write` write a file of the client's own to its folder, if it has one; replaced as a whole."""
        if self.folder is None:
            return
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            write(self.folder / name)

    def write_model(self, save: Callable[[Path], None], name: str) -> None:
        """Let `save` write the client's own weights to a folder of that name in its own, if it has one; replaced as a whole."""
        if self.folder is None:
            return
        target = self.folder / name
        fresh = self.folder / f".{target.name}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        save(fresh)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(fresh, target)

    def _read(self, version: int, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
        """Return the wanted tensors of what was kept when the shared weights had `version`, or last before it."""
        known = self.kept_at(version)
        if known is None:
            return {}
        if self.folder is None:
            return {name: value for name, value in self._memory[known].items() if wanted(name)}
        self.check(known)
        with safe_open(self._path(known), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys() if wanted(name)}  # noqa: SIM118 (it is no mapping)

    def _path(self, version: int) -> Path:
        assert self.folder is not None
        return self.folder / f"state-{version:06d}.safetensors"

    def _versions(self) -> list[int]:
        if self.folder is None:
            return sorted(self._memory)
        listed = self._hashes()
        if listed:  # a file that is not listed was being written when the process died
            return sorted(map(int, listed))
        names = (path.stem.removeprefix("state-") for path in self.folder.glob("state-*.safetensors"))
        return sorted(int(name) for name in names if name.isdecimal())

    def _hashes(self) -> dict[str, list[str]]:
        """Return the SHA-256 of each version's file; two while one is replaced; empty in folders of older versions.

        Raises:
            ResumeError: if the list is damaged.
        """
        assert self.folder is not None
        if self._listed is None:
            file = self.folder / HASHES
            try:
                found = read_json_file(file) if file.exists() else {}
            except DataError as fault:
                raise ResumeError(str(fault)) from None
            if not isinstance(found, dict) or not all(name.isdecimal() and isinstance(own, list) for name, own in found.items()):
                raise ResumeError(f"{file} is damaged: it holds no list of hashes; put back a copy, or start a new run")
            self._listed = found
        return self._listed

    def _hash_all(self) -> dict[str, list[str]]:
        """Return the hashes of the files of an older version's folder, which has no list of them."""
        return {str(version): [sha256_of(self._path(version))] for version in self._versions()}

    def _write_hashes(self, hashes: dict[str, list[str]]) -> None:
        assert self.folder is not None
        fresh = self.folder / f".{HASHES}.new"
        fresh.write_text(json_text(hashes), encoding="utf-8")
        put_in_place(fresh, self.folder / HASHES)
        self._listed = hashes
