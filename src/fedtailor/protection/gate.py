"""The one way in and out of a client: checked, protected, encoded, counted; and the same backwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..interfaces import Protection
from ..records import Message
from ..tensors import check_finite, is_large
from .codec import decode, encode
from .manifest import Direction, Manifest
from .stream import Stream

Encoded: TypeAlias = bytes | Stream  # as bytes, or past 64 MiB as what gives them tensor by tensor


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What every message passes, on every engine."""

    manifest: Manifest
    protections: Sequence[Protection] = ()

    def leave_client(self, message: Message) -> Encoded:
        """Return what leaves a client, or raise: nothing off the manifest, nothing that is not finite leaves.

        The length of what is returned is what the ledger says was sent up. All tensors have been checked by then, in streams
        too: a message whose last tensor is bad is refused before the first one is read.
        """
        for protection in self.protections:
            message = protection.client(message)
        self._check(message, "up")
        return _encode(message)

    def enter_server(self, data: Encoded) -> Message:
        """Return the message that a client sent; raise if it is off the manifest or not finite."""
        message = _decode(data)
        self._check(message, "up")
        for protection in reversed(self.protections):
            message = protection.server(message)
        return message

    def leave_server(self, message: Message) -> Encoded:
        """Return what goes to a client; its length is what the ledger says was sent down."""
        self._check(message, "down")
        return _encode(message)

    def enter_client(self, data: Encoded) -> Message:
        """Return the message that the server sent; raise if it is off the manifest or not finite."""
        message = _decode(data)
        self._check(message, "down")
        return message

    def _check(self, message: Message, direction: Direction) -> None:
        self.manifest.check(message, direction)
        check_finite(message.tensors, f"message {message.kind!r} {direction}")


def _encode(message: Message) -> Encoded:
    return Stream(message) if is_large(message.tensors) else encode(message)


def _decode(data: Encoded) -> Message:
    return data.decode() if isinstance(data, Stream) else decode(data)
