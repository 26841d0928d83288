"""Frames between a site's process and the process that holds its model: a tag, a length, bytes. Nothing is ever unpickled."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from ...protection import Encoded


LENGTH_BYTES = 8
OPEN, MESSAGE, INFO, FAILURE = b"O", b"M", b"I", b"F"


class Ended(Exception):
    """The other side is gone."""


class Pipe:
    """One side of the connection."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        """Take where frames come from, and where they go."""
        self._source, self._sink = source, sink

    def put(self, tag: bytes, payload: "Encoded") -> None:
        """Send one frame; a stream goes piece by piece.

        Raises:
            Ended: if nobody reads any more.
        """
        pieces: Iterable[bytes] = [payload] if isinstance(payload, bytes) else payload
        try:
            self._sink.write(tag + len(payload).to_bytes(LENGTH_BYTES, "big"))
            for piece in pieces:
                self._sink.write(piece)
            self._sink.flush()
        except (BrokenPipeError, ValueError):
            raise Ended from None

    def get(self) -> tuple[bytes, bytes]:
        """Return the tag and the bytes of the next frame.

        Raises:
            Ended: if the other side is gone, also in the middle of a frame.
        """
        head = self._read(1 + LENGTH_BYTES)
        return head[:1], self._read(int.from_bytes(head[1:], "big"))

    def _read(self, size: int) -> bytes:
        data = self._source.read(size)
        if len(data) < size:
            raise Ended
        return data
