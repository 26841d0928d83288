"""Calls between a site's engine and its agent: a small head in JSON and bytes that are not looked at, in packets over one pair of Unix sockets.

The socket keeps packets whole, so that whoever dies in the middle of a message spoils no other. What arrives is bounded before it is kept. Nothing
is ever unpickled.
"""

import json
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .pipe import Ended

if TYPE_CHECKING:  # the launcher makes the pair, and loads nothing that computes
    from ...protection import Encoded

HEAD = struct.Struct("!BQ")  # kind of a packet, and the number of its call
BEGIN, PIECE = 1, 2
PIECE_BYTES = 128 * 1024  # of a message in one packet
SESSION_BITS = 32  # of the number of a call: who asks; the others count
MOST_MESSAGES = 16  # that may arrive at the same time


def pair_for_calls() -> tuple[socket.socket, socket.socket]:
    """Return a pair of connected sockets for calls."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


@dataclass(kw_only=True)
class Arrived:
    """A message that is here as a whole, or one that is not taken."""

    call: int
    head: Mapping[str, Any]
    body: bytes = b""
    fault: str = ""  # why it is not taken


@dataclass(kw_only=True)
class _Arriving:
    head: Mapping[str, Any]
    missing: int  # bytes
    pieces: list[bytes] = field(default_factory=list)


class Calls:
    """One side of the connection: messages are sent from many threads and read by one."""

    def __init__(self, connection: socket.socket, most_bytes: Callable[[], int], stray: Callable[[str], None]) -> None:
        """Take the connection, how many bytes may be under way at most, and what is called with a line on packets that are none of ours."""
        self._connection, self._most_bytes, self._stray = connection, most_bytes, stray
        self._arriving: dict[int, _Arriving] = {}
        self._sending = threading.Lock()

    def put(self, call: int, head: Mapping[str, Any], body: "Encoded" = b"") -> None:
        """Send a message; others may come between its pieces."""
        self._send(BEGIN, call, json.dumps({**head, "size": len(body)}).encode())
        pieces: Iterable[bytes] = [body] if isinstance(body, bytes) else body
        for piece in pieces:
            view = memoryview(piece)
            for begin in range(0, len(view), PIECE_BYTES):
                self._send(PIECE, call, view[begin : begin + PIECE_BYTES])

    def get(self) -> Arrived:
        """Return the next message that is whole, or that is not taken.

        Raises:
            Ended: if nobody holds the other end any more.
        """
        while True:
            try:
                packet = self._connection.recv(HEAD.size + PIECE_BYTES + 1)
            except OSError:
                raise Ended from None
            if not packet and _is_closed(self._connection):  # an empty packet looks like the end
                raise Ended
            if not HEAD.size <= len(packet) <= HEAD.size + PIECE_BYTES:
                self._stray(f"a packet of {len(packet)} bytes")
                continue
            kind, call = HEAD.unpack_from(packet)
            arrived = self._begin(call, packet[HEAD.size :]) if kind == BEGIN else self._take(kind, call, packet)
            if arrived is not None:
                return arrived

    def forget_others(self, session: int) -> None:
        """Drop what has arrived in part, if it is not of this `session`."""
        for call in [call for call in self._arriving if call >> SESSION_BITS != session]:
            del self._arriving[call]

    def _begin(self, call: int, payload: bytes) -> Arrived | None:
        try:
            head = json.loads(payload)
            size = head.pop("size")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            self._stray("a packet that begins no message")
            return None
        if isinstance(size, bool) or not isinstance(size, int) or size < 0 or call in self._arriving:
            self._stray(f"a message of size {str(size)[:40]}")
            return None
        if not size:
            return Arrived(call=call, head=head)
        if not self._has_room(size):
            self.forget_others(call >> SESSION_BITS)  # a process that died may have begun much
        if not self._has_room(size):
            return Arrived(call=call, head=head, fault="TooLarge")
        self._arriving[call] = _Arriving(head=head, missing=size)
        return None

    def _has_room(self, size: int) -> bool:
        under_way = sum(each.missing + sum(map(len, each.pieces)) for each in self._arriving.values())
        return len(self._arriving) < MOST_MESSAGES and under_way + size <= self._most_bytes()

    def _take(self, kind: int, call: int, packet: bytes) -> Arrived | None:
        arriving, size = self._arriving.get(call), len(packet) - HEAD.size
        if kind != PIECE or arriving is None or not 0 < size <= arriving.missing:
            self._stray("a piece of no message")
            return None
        arriving.pieces.append(packet[HEAD.size :])
        arriving.missing -= size
        if arriving.missing:
            return None
        del self._arriving[call]
        return Arrived(call=call, head=arriving.head, body=b"".join(arriving.pieces))

    def _send(self, kind: int, call: int, payload: bytes | memoryview) -> None:
        with self._sending:
            self._connection.sendmsg([HEAD.pack(kind, call), payload])


def _is_closed(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, 0)  # an end that is gone is always reported
    return bool(poll.poll(0))
