"""What a client owns: its examples, and what it keeps from round to round."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import load_file, save_file

from ..printable import json_text
from ..records import ClientId
from ..tasks.shard import Shard
from ..tensors import Tensors

VERSIONS_KEPT = 3  # of the two checkpoints that are kept, and of a round under way: a client that is ahead rolls back


@dataclass(kw_only=True)
class ClientState:
    """One client's own things. They live in its folder and nowhere else; without a folder, in memory."""

    id: ClientId
    train: Shard
    validation: Shard
    test: Shard
    folder: Path | None = None
    _memory: dict[int, Tensors] = field(default_factory=dict)

    def recall(self, version: int) -> Tensors:
        """Return what the client kept when the shared weights had `version`, or last before it; empty if nothing."""
        known = [v for v in self._versions() if v <= version]
        if not known:
            return {}
        return self._memory[known[-1]] if self.folder is None else load_file(self._path(known[-1]))

    def keep(self, version: int, tensors: Tensors) -> None:
        """Keep `tensors` as the state that goes with `version` of the shared weights; older ones but one are let go."""
        stale = [v for v in self._versions() if v != version][: -(VERSIONS_KEPT - 1)]
        if self.folder is None:
            self._memory[version] = tensors
            for old in stale:
                del self._memory[old]
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self._path(version).with_suffix(".new")
        save_file(dict(tensors), fresh)
        os.replace(fresh, self._path(version))
        for old in stale:
            self._path(old).unlink()

    def roll_back(self, version: int) -> None:
        """Forget what was kept after `version`: the rounds that it belongs to did not reach a checkpoint."""
        for ahead in [v for v in self._versions() if v > version]:
            if self.folder is None:
                del self._memory[ahead]
            else:
                self._path(ahead).unlink()

    def write_texts(self, name: str, texts: Sequence[Mapping[str, object]]) -> None:
        """Write texts of the client's own (what was generated from its examples) to its folder, if it has one."""
        if self.folder is None or not texts:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(json_text(text) + "\n" for text in texts)
        (self.folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")

    def write_model(self, save: Callable[[Path], None], *, full: bool) -> None:
        """Let `save` write the client's own weights to its folder, as adapter/ or model/, if it has one; replaced as a whole."""
        if self.folder is None:
            return
        target = self.folder / ("model" if full else "adapter")
        fresh = self.folder / f".{target.name}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        save(fresh)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(fresh, target)

    def _path(self, version: int) -> Path:
        assert self.folder is not None
        return self.folder / f"state-{version:06d}.safetensors"

    def _versions(self) -> list[int]:
        if self.folder is None:
            return sorted(self._memory)
        return sorted(int(path.stem.removeprefix("state-")) for path in self.folder.glob("state-*.safetensors"))
