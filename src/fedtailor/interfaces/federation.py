"""The means by which messages reach clients, and what answers them there."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from ..records import ClientId, ClientInfo, Message, Reply


class Asking(Protocol):
    """What asks clients, each for one answer."""

    @property
    def clients(self) -> Sequence[ClientInfo]: ...

    def ask(self, requests: Mapping[ClientId, Message], timeout_s: float | None = None) -> Iterator[Reply]:
        """Send one request to each client and yield the answers as they come."""


class Federation(Asking, Protocol):
    """The means by which messages reach clients."""

    def send(self, client: ClientId, message: Message) -> int:
        """Encode `message` for `client` at once and return a ticket."""

    def next_reply(self, timeout_s: float | None = None) -> Reply:
        """Return the next answer, whichever client's comes first."""

    def cancel(self, ticket: int) -> None:
        """Forget a request that was not answered."""


class Answering(Protocol):
    """What answers messages at a client."""

    def answer(self, message: Message) -> Message:
        """Return the answer to a message."""
