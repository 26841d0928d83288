"""Averaging with all that a run needs of it."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

from ...interfaces import Federation, Observer, traits_of
from ...learning.client import Client
from ...learning.worker import OnStep, Worker
from ...ledger import Sizes
from ...messages import Call
from ...personalization import Personalization, Shared
from ...records import Cost, Round, ServerState
from ...tasks.shard import Shard
from ...tensors import Tensors
from ..bench import Bench
from ..rounds.by_task import ByTask
from ..rounds.drift import Drift
from ..rounds.observers import observers_of
from ..rounds.sampling import Sampler
from ..usual import UsualRun
from .client import AveragingClient
from .cost import lengths, round_cost
from .server import serve
from .settings import Averaging


@dataclass(frozen=True, kw_only=True)
class AveragingRun(UsualRun):
    """What a run is carried out with."""

    settings: Averaging = field(default_factory=Averaging)
    observers: Sequence[Observer] = (Drift(),)  # look at the updates of each round

    @property
    def wire(self) -> str:
        return self.settings.wire

    def start(self, worker: Worker) -> ServerState:
        """Return the state before round 1: the weights that are in place."""
        shared = worker.tensors()
        return ServerState(version=0, shared=shared, method=self.aggregation.init(shared))

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
        """Yield after each round; see `server.serve`."""
        return serve(
            self.settings, federation, state, sampler, rounds=rounds, worker=worker, observers=self.observers, wanted=wanted
        )

    def client(
        self,
        client: Client,
        *,
        personalization: Personalization | None = None,
        public: Shard | None = None,
        on_step: OnStep | None = None,
    ) -> AveragingClient:
        """Return the part that answers messages at one client.

        Args:
            personalization: what the client keeps for itself; nothing if left out.
            public: the public test set, if there is one.
        """
        technique = personalization or Shared()
        return AveragingClient(settings=self.settings, client=client, personalization=technique, public=public, on_step=on_step)

    def calls(self, shared: Tensors, figures: Sequence[str] = (), *, rounds: int = 1) -> list[Call]:
        """Return what this protocol sends; there are no figures in these messages."""
        return [self.settings.call(shared, rounds)]

    def sizes(
        self, shared: Tensors, *, rounds: int, validated: bool, shape: Callable[[Call], Call] = lambda call: call
    ) -> Mapping[str, int]:
        """Return the bytes that a client sends and gets in a round, on average over `rounds`."""
        up, down = lengths(self.settings, shared, rounds=rounds, validated=validated, shape=shape)
        return {"up_bytes": up, "down_bytes": down}

    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what one client with so many examples spends in one round, estimated."""
        return round_cost(self.local, sizes, examples=examples, tokens_per_example=tokens_per_example)


def averaging_run(settings: Averaging, bench: Bench) -> AveragingRun:
    """Return the protocol with all that a run needs of it."""
    by_task = [ByTask(bench.tasks, bench.task)] if bench.tasks else []
    looking = observers_of(bench.worker, refactors=traits_of(settings.aggregation).refactors)
    return AveragingRun(settings=settings, observers=(*looking, *by_task))
