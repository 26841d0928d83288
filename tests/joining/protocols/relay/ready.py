"""A relay with all that a run needs of it."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import TooFewClients
from ...interfaces import Federation
from ...learning.client import Client
from ...learning.worker import OnStep, Worker
from ...ledger import Sizes
from ...messages import Call, read, write
from ...personalization import Personalization
from ...records import ClientFailure, ClientId, Cost, Round, ServerState
from ...tasks.shard import Shard
from ...tensors import Tensors, add
from ..averaging.cost import round_cost
from ..bench import Bench
from ..rounds.sampling import Sampler
from ..usual import UsualRun
from .client import RelayClient
from .messages import Leg, Run, relay_call
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
        while True:
            index, shared = state.version + 1, state.shared
            rows: list[dict[str, Any]] = []
            failures: list[tuple[ClientId, ClientFailure]] = []
            for client in sampler.draw(index):
                leg = Leg(version=state.version, rate_factor=self.local.round_factor(index, rounds), shared=shared)
                (reply,) = federation.ask({client: write(leg)})
                row = {"attempt": 1, "client": client, "up_bytes": reply.traffic.up_bytes, "down_bytes": reply.traffic.down_bytes}
                if reply.message is None:
                    assert reply.error is not None
                    failures.append((client, reply.error))
                    rows.append({**row, "error": reply.error.kind})
                    continue
                run = read(reply.message, Run)
                shared = add(shared, run.delta)
                own = {"examples": run.examples, "steps": run.steps, "tokens": run.tokens, "seconds": run.seconds}
                rows.append(row | own)
            if len(failures) == len(rows):
                raise TooFewClients(f"in round {index} no client answered")
            state = ServerState(version=index, shared=shared, method={})
            yield Round(index=index, state=state, figures={}, clients=rows, failures=failures)

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
        call = shape(relay_call(shared))
        return {"up_bytes": call.length(Run), "down_bytes": call.length(Leg, version=10, rate_factor=1.0)}

    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what a leg costs."""
        return round_cost(self.local, sizes, examples=examples, tokens_per_example=tokens_per_example)


def relay_run(settings: Relay, bench: Bench) -> RelayRun:
    """Return the protocol."""
    return RelayRun(settings=settings)
