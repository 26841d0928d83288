"""The one way in and out of a client: checked, protected, encoded, counted; and the same backwards."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..interfaces import Protection
from ..records import Message
from ..tensors import check_finite
from .codec import decode, encode
from .manifest import Direction, Manifest


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What every message passes, on every engine."""

    manifest: Manifest
    protections: Sequence[Protection] = ()

    def leave_client(self, message: Message) -> bytes:
        """Return the bytes that leave a client, or raise: nothing off the manifest, nothing that is not finite leaves.

        The length of what is returned is what the ledger says was sent up.
        """
        for protection in self.protections:
            message = protection.client(message)
        self._check(message, "up")
        return encode(message)

    def enter_server(self, data: bytes) -> Message:
        """Return the message that a client sent; raise if it is off the manifest or not finite."""
        message = decode(data)
        self._check(message, "up")
        for protection in reversed(self.protections):
            message = protection.server(message)
        return message

    def leave_server(self, message: Message) -> bytes:
        """Return the bytes that go to a client; their length is what the ledger says was sent down."""
        self._check(message, "down")
        return encode(message)

    def enter_client(self, data: bytes) -> Message:
        """Return the message that the server sent; raise if it is off the manifest or not finite."""
        message = decode(data)
        self._check(message, "down")
        return message

    def _check(self, message: Message, direction: Direction) -> None:
        self.manifest.check(message, direction)
        check_finite(message.tensors, f"message {message.kind!r} {direction}")
