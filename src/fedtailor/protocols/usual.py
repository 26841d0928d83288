"""What a run of a protocol is carried out with promises, and what holds of one that says nothing else of itself."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self

from ..interfaces import Answering, Federation
from ..learning.client import Client
from ..learning.local import LocalTraining
from ..learning.worker import OnStep, Worker
from ..ledger import Sizes
from ..messages import Call, Record
from ..messages.work import Work
from ..personalization import Personalization
from ..records import ClientId, Cost, Round, ServerState
from ..retrieval.inbox import Inbox
from ..tasks.shard import Shard
from ..tensors import Tensors
from .rounds.sampling import Sampler


class LastExchange(Protocol):
    """What a protocol asks of each client that trains after the last round; what clients keep is not changed by it."""

    section: ClassVar[str]  # of summary.json
    what: ClassVar[str]  # it asks for, in events
    form: ClassVar[type[Work]]  # of the answers

    def request(self, state: ServerState, *, generate: bool) -> Record:
        """Return what is sent to each; `generate`: whether figures of generated texts are wanted."""

    def figures(self, state: ServerState) -> Mapping[str, Any]:
        """Return what the section has beside figures of clients."""

    def length(self, shared: Tensors, *, rounds: int) -> int:
        """Return the bytes of the request after so many rounds."""


class UsualRun(ABC):
    """Of what a run is carried out with."""

    settings: Any
    trains: ClassVar[bool] = True  # whether weights change
    own_models: ClassVar[bool] = False  # whether each client has a model of its own, beside the server's
    evaluates: ClassVar[bool] = True  # whether clients are asked how good weights are on parts of their own
    works_ahead: ClassVar[bool] = False  # whether what answers at a client has work to do before the first round
    knows_gain: ClassVar[bool] = True  # whether clients can measure what their local training gains

    @abstractmethod
    def start(self, worker: Worker) -> ServerState:
        """Return the state before the first round."""

    @abstractmethod
    def serve(
        self,
        federation: Federation,
        state: ServerState,
        sampler: Sampler,
        *,
        rounds: int,
        worker: Worker | None = None,
        wanted: Callable[[int], Sequence[str]] = lambda index: (),
    ) -> Generator[Round, None, None]:
        """Yield after each round.

        Args:
            state: of the last round, from which it continues.
            rounds: after which it ends, counted from the run's first.
            worker: the server's model, for rules that need it.
            wanted: gives the figures that clients are asked to measure in a round.
        """

    @abstractmethod
    def client(
        self,
        client: Client,
        *,
        personalization: Personalization | None = None,
        public: Shard | None = None,
        on_step: OnStep | None = None,
    ) -> Answering:
        """Return the part that answers messages at one client.

        Args:
            public: the public test set, if there is one.
        """

    @abstractmethod
    def calls(self, shared: Tensors, figures: Sequence[str] = (), *, rounds: int = 1) -> list[Call]:
        """Return what this protocol sends.

        Args:
            shared: the exchanged weights.
            figures: that evaluations may report.
            rounds: of the run: which tensors are sent may differ from round to round.
        """

    @abstractmethod
    def sizes(
        self, shared: Tensors, *, rounds: int, validated: bool, shape: Callable[[Call], Call] = lambda call: call
    ) -> Mapping[str, int]:
        """Return what of `Sizes` depends on the protocol: the bytes that a client sends and gets in a round, on average over `rounds`.

        Args:
            validated: whether clients measure losses on validation parts of their own.
            shape: gives a call as it is under the job's protections.
        """

    @abstractmethod
    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what one client with so many examples spends in one round, estimated."""

    @property
    def local(self) -> LocalTraining:
        """Of the settings."""
        local: LocalTraining = self.settings.local
        return local

    @property
    def aggregation(self) -> Any:
        """The rule of the settings, if there is one."""
        return self.settings.aggregation

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

    def take_questions(self, inbox: Inbox) -> None:
        """Take questions that come while a run is open: most protocols take none."""
        inbox.is_open = False

    def outcome(self, state: ServerState) -> Mapping[str, Any]:
        """Return sections of summary.json that only this protocol has."""
        return {}

    def check_models(self, server: Worker, own: Mapping[ClientId, Worker]) -> None:  # noqa: B027  others may check
        """Raise SettingError, naming the client, unless what it sends can be read by the server's model.

        Args:
            own: of the clients whose worker is not the server's.
        """

    @property
    def last(self) -> "LastExchange | None":
        """What is asked of each client that trains after the last round; None if nothing is."""
        return None

    def measured(self, shared: Tensors) -> Tensors:
        """Return tensors of the form in which evaluations send what the run has made of `shared`, for estimates."""
        return shared

    def exchanges_a_round(self, examples: int) -> int:
        """Return how often a client with so many training examples waits for an answer of the server in a round."""
        return 1

    def says(self) -> Iterator[tuple[str, str]]:
        """Yield what `check` shows of the protocol, beside its name and rule: a name and a text."""
        yield from ()

    def estimates(self, shared: Tensors, *, rounds: int, clients: int, tokens: int) -> Iterator[tuple[str, str]]:
        """Yield what `check` shows of costs beside those of rounds: a name and a text.

        Args:
            tokens: of all training examples.
        """
        yield from ()
