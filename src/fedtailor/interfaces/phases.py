"""What phases after the rounds promise, and what they are given to work with."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar

from ..messages import Call, Record
from ..metrics import Metric
from ..records import ClientId
from ..tensors import Tensors

R = TypeVar("R", bound=Record)
ByClient: TypeAlias = Mapping[ClientId, Mapping[str, float]]


class Ending(Protocol):
    """A run after its last round, as a phase finds it at the server."""

    @property
    def shared(self) -> Tensors:
        """The exchanged weights that the run ends with."""

    @property
    def round(self) -> int:
        """The round that they are of."""

    def ask(self, request: Record, form: type[R], what: str) -> Mapping[ClientId, R]:
        """Return the answers of the clients that train, in the order in which they came; who failed is an event, and its bytes count.

        Args:
            request: sent to each.
            form: of the answers.
            what: is asked for, in events: "training alone".

        Raises:
            RunError: if nobody answered.
        """


class Phase(Protocol):
    """What a run does after its last round: a frozen dataclass of settings that a job lists under `after`.

    What clients keep between rounds is not changed: a run that is interrupted here begins the phase again.
    """

    section: ClassVar[str]  # the name of its table, of its section in summary.json and of its scope in evaluations.parquet
    metrics: ClassVar[Sequence[Metric]]  # that it finds of each client
    reports: ClassVar[Mapping[str, str]]
    """What its facts reveal of a client's data besides the usual (`Own` in their specs), and what each such word means, for policies."""

    def calls(self, shared: Tensors, figures: Sequence[str]) -> Sequence[Call]:
        """Return its exchanges with clients.

        Args:
            shared: the exchanged weights.
            figures: names that the task can report.
        """

    def handlers(self, client: Any) -> Mapping[type[Record], Callable[[Any], Any]]:
        """Return what answers its requests at a client (`learning.client.Client`)."""

    def carry_out(self, end: Ending) -> ByClient:
        """Ask the clients, and return the figures of each, by the names of `metrics`."""
