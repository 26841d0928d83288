"""The server's part of a relay."""

from collections.abc import Generator
from typing import Any

from ...errors import TooFewClients
from ...interfaces import Federation
from ...messages import read, write
from ...messages.record import facts_of
from ...messages.rows import row_of
from ...records import ClientFailure, ClientId, Round, ServerState
from ...tensors import add
from ..rounds.sampling import Sampler
from .messages import Leg, Run
from .settings import Relay


def serve(
    settings: Relay, federation: Federation, state: ServerState, sampler: Sampler, *, rounds: int
) -> Generator[Round, None, None]:
    """Yield after each round."""
    while True:
        index, shared = state.version + 1, state.shared
        rows: list[dict[str, Any]] = []
        failures: list[tuple[ClientId, ClientFailure]] = []
        for client in sampler.draw(index):
            leg = Leg(version=state.version, rate_factor=settings.local.round_factor(index, rounds), shared=shared)
            (reply,) = federation.ask({client: write(leg)})
            run = None if reply.message is None else read(reply.message, Run)
            rows.append({"attempt": 1, **row_of(reply, reply.error, {} if run is None else facts_of(run))})
            if reply.error is not None:
                failures.append((client, reply.error))
            if run is not None:
                shared = add(shared, run.delta)
        if len(failures) == len(rows):
            raise TooFewClients(f"in round {index} no client answered")
        state = ServerState(version=index, shared=shared, method={})
        yield Round(index=index, state=state, figures={}, clients=rows, failures=failures)
