"""The server's part of split learning: rounds of averaging, each request of which is a conversation across the cut."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...interfaces import Federation
from ...messages import state_of, tensors_of
from ...messages.rows import worked
from ...records import Round, ServerState
from ..averaging import Averaging
from ..averaging.server import serve as serve_rounds
from ..rounds.sampling import Sampler
from .conversations import Conversations
from .cost import client_flops, server_flops
from .reuse import Spared
from .state import Memory
from .terms import Terms


def serve(
    terms: Terms, federation: Federation, state: ServerState, sampler: Sampler, *, rounds: int
) -> Generator[Round, None, None]:
    """Yield after each round, as averaging does; `ServerState.method` is what the server remembers of each client, see `Memory`.

    Raises:
        TooFewClients: if less than the quorum ended their conversations, twice.
    """
    talks = Conversations(terms=terms, federation=federation, memory=state_of(Memory, state.method))
    settings = terms.settings
    averaging = Averaging(
        aggregation=settings.aggregation, local=settings.local, weights=settings.weights, quorum=settings.quorum
    )
    for round in serve_rounds(averaging, talks, replace(state, method={}), sampler, rounds=rounds):
        talks.commit()
        rows, figures = costed(talks, round.clients)
        yield replace(
            round, state=replace(round.state, method=tensors_of(talks.memory)), clients=rows, figures={**round.figures, **figures}
        )


def costed(talks: Conversations, rows: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return the rows of the last attempt's clients with the operations of their own parts, and figures of the round."""
    terms, found, flops = talks.terms, [], 0.0
    reuse = terms.settings.reuse
    for row in rows:
        work = worked(row)
        if work is None:
            found.append(dict(row))
            continue
        layout = terms.layout.moved(talks.cuts.get(work.client, terms.layout.cut))
        spared = talks.spared.get(work.client) or Spared()
        more: dict[str, Any] = {"train_flops": client_flops(layout, work.tokens, reused=spared.tokens)}
        more |= {"reused_tokens": spared.tokens, "reused_bytes": round(spared.size_bytes)} if reuse else {}
        more |= {"cut": layout.cut} if len(terms.all_cuts) > 1 else {}
        more |= talks.errors.get(work.client, {})
        flops += server_flops(layout, work.tokens)
        found.append({**row, **more})
    figures = {"server_seconds": talks.seconds, "server_flops": flops}
    figures |= {"reused_bytes": sum(row.get("reused_bytes", 0) for row in found)} if reuse else {}
    return found, figures
