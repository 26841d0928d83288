"""A disk on which one write fails: the k-th file or folder that is opened for writing, made or renamed below a folder."""

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FAULTS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EDQUOT)


class Disk:
    """Counts the writes below a folder, and lets one of them fail."""

    def __init__(self, home: Path, at: int | None = None, fault: int = errno.ENOSPC) -> None:
        self.home, self.at, self.fault = os.path.abspath(home), at, fault
        self.writes: list[str] = []

    def _ours(self, path: Any) -> bool:
        return isinstance(path, str | os.PathLike) and os.path.abspath(os.fspath(path)).startswith(f"{self.home}{os.sep}")

    def write(self, path: Any, what: str, *, torn: Callable[[], Any] | None = None) -> None:
        """Count one write; the one that fails leaves what `torn` makes."""
        if not self._ours(path):
            return
        self.writes.append(f"{what} {os.path.relpath(os.fspath(path), self.home)}")
        if len(self.writes) - 1 == self.at:
            if torn is not None:
                torn()
            raise OSError(self.fault, os.strerror(self.fault), os.fspath(path))

    @contextmanager
    def failing(self, monkeypatch: Any) -> Iterator["Disk"]:
        """Let it be the disk inside the block."""
        import pyarrow.parquet
        import safetensors.torch

        usual_open, usual_os_open = builtins.open, os.open

        def opened(file: Any, mode: str = "r", *given: Any, **named: Any) -> Any:
            if set(mode) & set("wax+"):
                self.write(file, "open", torn=lambda: usual_open(file, mode, *given, **named).close())
            return usual_open(file, mode, *given, **named)

        def os_opened(path: Any, flags: int, *given: Any, **named: Any) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.write(path, "open")
            return usual_os_open(path, flags, *given, **named)

        def first(what: str, usual: Callable[..., Any], place: int = 0, torn: bool = False) -> Callable[..., Any]:
            def call(*given: Any, **named: Any) -> Any:
                path = given[place] if len(given) > place else None
                if what == "mkdir" and os.path.isdir(path):
                    return usual(*given, **named)  # says that it is there
                self.write(path, what, torn=(lambda: Path(path).write_bytes(b"torn")) if torn else None)
                return usual(*given, **named)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(builtins, "open", opened)
            patch.setattr(io, "open", opened)
            patch.setattr(os, "open", os_opened)
            for name, place in (("replace", 1), ("rename", 1), ("mkdir", 0)):
                patch.setattr(os, name, first(name, getattr(os, name), place))
            patch.setattr(safetensors.torch, "serialize_file", first("tensors", safetensors.torch.serialize_file, 1, torn=True))
            patch.setattr(pyarrow.parquet, "write_table", first("table", pyarrow.parquet.write_table, 1, torn=True))
            yield self
