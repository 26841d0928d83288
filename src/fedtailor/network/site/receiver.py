"""A site's end of a backbone that the server sends: files grow piece by piece, and count for nothing before all hashes fit."""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import BackboneError, OffManifest
from ...messages import read, write
from ...models.cache import file_sha256
from ...models.info import count_weights
from ...models.locate import Location, locate
from ...models.pins import pins
from ...protection import Encoded, make_gate
from ..kit.site_file import SiteFile, sent_backbone
from ..meeting.meeting import HASHES, backbone_refusals
from ..meeting.offer import MANIFEST, Offer, OfferedFile, Piece, Taken
from .model_keeper import Failed

SPARE_BYTES = 500_000_000  # that stay free on a site's disk
FULL = (errno.ENOSPC, errno.EDQUOT)


class Receiver:
    """Takes one backbone into the site's kit; what has arrived stays there over interruptions."""

    def __init__(self, offer: Offer, kit: Path, file: SiteFile, note: Callable[[str], None]) -> None:
        """Take what the server offers, the site's folder and private file, and what is called with a line on what happens.

        Raises:
            OffManifest: if the backbone's name cannot be one of a folder.
        """
        folder = sent_backbone(kit, offer.backbone)
        if folder is None:
            raise OffManifest(f"{offer.backbone!r} is no name of a backbone")
        self._offer, self._kit, self._file, self._note = offer, kit, file, note
        self._folder, self._arriving = folder, folder.with_name(f".{folder.name}.arriving")
        self._files = {each.name: each for each in offer.files}
        self._done: set[str] = set()  # files that are there with the right hash
        self._gate = make_gate(MANIFEST)
        self._lock = threading.Lock()

    def open(self, *, again: bool = False) -> dict[str, Any]:
        """Return what is there: whether all of it, else of each file that has begun its bytes and their SHA-256.

        Raises:
            Failed: with a reason that both ends show, if nothing can be taken.
        """
        with self._lock:
            if self._is_here():
                self._note(f"backbone {self._offer.backbone} is here already, with the server's hashes")
                return {"there": {}, "whole": True}
            self._arriving.mkdir(parents=True, exist_ok=True)
            there = self._look()
            missing = self._offer.size_bytes - sum(size for size, _ in there.values())
            if missing > (free := shutil.disk_usage(self._arriving).free) - SPARE_BYTES:
                self._note(f"backbone {self._offer.backbone} has {missing:,} bytes to come, and {free:,} are free on this disk")
                raise Failed("refused", "DiskFull", "there is not enough room on this site's disk; what has arrived is kept")
            whole = self._end_if_whole()
            if not whole:
                self._note(
                    f"the server sends backbone {self._offer.backbone}: {missing:,} of {self._offer.size_bytes:,} bytes to come"
                )
            return {"there": {name: list(state) for name, state in there.items()}, "whole": whole}

    def answer(self, ticket: str, data: Encoded) -> tuple[bytes, float]:
        """Write one piece; return the encoded reply and the seconds that it took.

        Raises:
            Failed: with what may be reported of it.
        """
        began = time.perf_counter()
        with self._lock:
            piece = read(self._gate.enter_client(data), Piece)
            file = self._files.get(piece.file)
            if file is None or piece.data is None:
                raise Failed("off-manifest", "NotOffered")
            try:
                there = self._write(file, piece.offset, piece.data)
                whole = self._end_if_whole()
            except OSError as fault:
                if fault.errno in FULL:
                    raise Failed("failed", "DiskFull") from None
                raise
            reply = self._gate.leave_client(write(Taken(there=there, whole=int(whole))))
        assert isinstance(reply, bytes)  # it has no tensors
        return reply, time.perf_counter() - began

    def forget(self, ticket: str) -> None:
        """A piece is written or it is not: there is nothing to stop."""

    def close(self) -> None:
        """What has arrived stays."""

    def _is_here(self) -> bool:
        """Return whether the site has this very backbone.

        Raises:
            Failed: if it has another one of this name.
        """
        name = self._offer.backbone
        try:
            found = pins(locate(self._file.backbone(name, self._kit), self._kit))
        except BackboneError as fault:
            if name in self._file.backbones or self._folder.exists():
                self._note(str(fault))
                text = f"this site has a backbone {name!r} of its own that cannot be opened; its owner's site.log says more"
                raise Failed("refused", "BackboneError", text) from None
            return False
        if wrong := backbone_refusals(name, found, self._offer.pins):
            raise Failed("refused", "HashDiffers", f"{'; '.join(wrong)}; what this site has is not replaced")
        return True

    def _look(self) -> dict[str, tuple[int, str]]:
        """Return bytes and SHA-256 of each file that has begun; what is not offered is removed."""
        there = {}
        for path in sorted(self._arriving.iterdir()):
            file = self._files.get(path.name)
            if file is None or path.stat().st_size > file.size_bytes:
                path.unlink()
                continue
            there[path.name] = (path.stat().st_size, file_sha256(path))
            if there[path.name] == (file.size_bytes, file.sha256):
                self._done.add(path.name)
        return there

    def _write(self, file: OfferedFile, offset: int, piece: Tensor) -> int:
        """Add bytes to a file, or begin it again at offset 0; return how many it has."""
        path, end = self._arriving / file.name, offset + piece.numel()
        if offset and (not path.exists() or path.stat().st_size != offset):
            raise Failed("failed", "OutOfOrder")
        if end > file.size_bytes or (end == offset and file.size_bytes):
            raise Failed("off-manifest", "NotOffered")
        self._done.discard(file.name)
        with path.open("ab" if offset else "wb") as sink:
            sink.write(piece.numpy().data)
            if end == file.size_bytes:
                sink.flush()
                os.fsync(sink.fileno())
        if end == file.size_bytes:
            if file_sha256(path) != file.sha256:
                path.unlink()
                raise Failed("failed", "HashDiffers")
            self._done.add(file.name)
        return end

    def _end_if_whole(self) -> bool:
        """Give the folder its name once all files are there: weights are safetensors, and hashes are those that jobs compare."""
        if self._done != set(self._files):
            return False
        for path in sorted(self._arriving.glob("*.safetensors")):
            try:
                count_weights(path)
            except BackboneError:
                path.unlink()
                raise Failed("failed", "NotSafetensors") from None
        found = pins(Location(folder=self._arriving, source="folder"))
        if any(found[part] != self._offer.pins[part] for part in HASHES):
            raise Failed("failed", "HashDiffers")
        self._arriving.rename(self._folder)
        self._note(f"backbone {self._offer.backbone} is whole, in {self._folder}")
        return True
