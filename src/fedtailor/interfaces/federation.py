"""The means by which messages reach clients, and what answers them there."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from ..records import ClientId, ClientInfo, Message, Reply

Answer: TypeAlias = Message | Generator[Any, Any, Message]
"""An answer, or what comes to one when the trainings that it yields were carried out (`learning.work.Training`)."""


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

    def answer(self, message: Message) -> Answer:
        """Return the answer to a message."""
