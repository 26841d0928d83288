"""A relay with all that a run needs of it."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

from ...interfaces import Federation
from ...learning.client import Client
from ...learning.worker import OnStep, Worker
from ...ledger import Sizes
from ...messages import Call
from ...personalization import Personalization
from ...records import Cost, Round, ServerState
from ...tasks.shard import Shard
from ...tensors import Tensors
from ..averaging.cost import round_cost
from ..bench import Bench
from ..rounds.sampling import Sampler
from ..usual import UsualRun
from .client import RelayClient
from .cost import lengths
from .messages import relay_call
from .server import serve
from .settings import Relay


@dataclass(frozen=True, kw_only=True)
class RelayRun(UsualRun):
    """What a run is carried out with."""

    settings: Relay

    def start(self, worker: Worker) -> ServerState:
        """Return the weights in place."""
        return ServerState(version=0, shared=worker.tensors(), method={})

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
        """Yield after each round."""
        return serve(self.settings, federation, state, sampler, rounds=rounds)

    def client(
        self,
        client: Client,
        *,
        personalization: Personalization | None = None,
        public: Shard | None = None,
        on_step: OnStep | None = None,
    ) -> RelayClient:
        """Return what answers at one client."""
        return RelayClient(settings=self.settings, client=client, on_step=on_step)

    def calls(self, shared: Tensors, figures: Sequence[str] = (), *, rounds: int = 1) -> list[Call]:
        """Return what is sent."""
        return [relay_call(shared)]

    def sizes(
        self, shared: Tensors, *, rounds: int, validated: bool, shape: Callable[[Call], Call] = lambda call: call
    ) -> Mapping[str, int]:
        """Return the bytes of a leg."""
        up, down = lengths(shape(relay_call(shared)))
        return {"up_bytes": up, "down_bytes": down}

    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what a leg costs."""
        return round_cost(self.local, sizes, examples=examples, tokens_per_example=tokens_per_example)


def relay_run(settings: Relay, bench: Bench) -> RelayRun:
    """Return the protocol."""
    return RelayRun(settings=settings)
