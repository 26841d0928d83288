"""What holds of a protocol that says nothing else of itself: of its settings, and of what a run is carried out with."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from ..learning.worker import Worker
from ..records import ClientId, Message, ServerState
from ..tensors import Tensors


class UsualRun:
    """Of what a run is carried out with."""

    trains: ClassVar[bool] = True  # whether weights change
    own_models: ClassVar[bool] = False  # whether each client has a model of its own, beside the server's
    knows_gain: ClassVar[bool] = True  # whether clients can measure what their local training gains

    @property
    def validated(self) -> bool:
        """Whether rounds are judged by validation losses; else the protocol judges what it finds."""
        return True

    @property
    def least_examples(self) -> int:
        """How few examples a client's answer in a round may be over, beside what the site's own policy says."""
        return 0

    def of_client(self, client: ClientId) -> Self:
        """Return the protocol as it is at one client."""
        return self

    def most_rounds(self, rounds: int) -> int:
        """Return how many rounds there are at most where the job stops after `rounds`."""
        return rounds

    def outcome(self, state: ServerState) -> Mapping[str, Any]:
        """Return sections of summary.json that only this protocol has."""
        return {}

    def check_models(self, server: Worker, own: Mapping[ClientId, Worker]) -> None:
        """Raise SettingError, naming the client, unless what it sends can be read by the server's model.

        Args:
            own: of the clients whose worker is not the server's.
        """

    def last_request(self, state: ServerState, *, generate: bool) -> Message | None:
        """Return what is asked of each client that trains after the last round; None if nothing is."""
        return None

    def last_section(self, state: ServerState) -> Mapping[str, Any]:
        """Return what the section of the last request has beside figures."""
        return {}

    def says(self) -> Iterator[tuple[str, str]]:
        """Yield what `check` shows of the protocol, beside its name and rule: a name and a text."""
        yield from ()

    def estimates(self, shared: Tensors, *, rounds: int, clients: int, tokens: int) -> Iterator[tuple[str, str]]:
        """Yield what `check` shows of costs beside those of rounds: a name and a text.

        Args:
            tokens: of all training examples.
        """
        yield from ()
