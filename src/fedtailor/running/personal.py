"""After the rounds: what each client's own weights are worth to it, beside those that it started from and the shared ones."""

from collections.abc import Mapping
from itertools import count
from typing import Any

from ..assemble import Parts
from ..errors import RunError
from ..interfaces import Federation
from ..learning.evaluate import summarize_clients
from ..ledger import train_flops
from ..protocols.personal import PersonalFigures, ask_personal, personal_request
from ..records import ClientId
from ..tensors import Tensors
from .measure import Moment, Notify, pool
from .progress import Progress

Figures = Mapping[ClientId, Mapping[str, float]]
SCOPES = {"validation": "personal-validation", "test": "personal", "public": "personal-public"}  # of evaluations.parquet


def personalize(
    parts: Parts, federation: Federation, progress: Progress, shared: Tensors, after: Moment, *, round: int, notify: Notify
) -> dict[str, Any] | None:
    """Ask each client that trains to make the weights its own; return the section of the summary, or None if nothing is personal.

    It depends on the shared weights, the version and what clients kept as of then, and changes none of them: a run that is cut
    off here begins this phase again, to the same bits.

    Args:
        shared: the weights that the federation ends with.
        after: their figures.
        round: that they are of.

    Raises:
        RunError: if no client could.
    """
    if not parts.job.personalization.personal:
        return None
    asked = [info.id for info in parts.sampler.clients]
    replies = count(1)
    found = ask_personal(
        federation,
        asked,
        personal_request(shared, version=progress.state.version, generate=True),
        lambda client: notify("evaluating", what=f"{client}, personal", done=next(replies), of=len(asked)),
    )
    for client, failure in found.failures.items():
        notify("failure", client=client, text=f"personalization {failure.kind}: {failure.mark}; see its log.txt")
    if len(found.failures) == len(asked):
        kinds = sorted({f"{failure.kind} ({failure.mark})" for failure in found.failures.values()})
        raise RunError(
            f"none of {len(asked)} clients could make the shared weights its own: {', '.join(kinds)}; see clients/ID/log.txt, mend the "
            "cause and use --resume"
        )
    _note(parts, progress, found, round)
    notify("personalized", clients=len(found.work), kept=sum(int(work.get("kept", 1)) for work in found.work.values()))
    return _section(parts, progress, found, after)


def _note(parts: Parts, progress: Progress, found: PersonalFigures, round: int) -> None:
    """Add figures, bytes, operations and seconds to the progress."""
    for part, scope in SCOPES.items():
        for client, figures in found.parts[part].items():
            progress.note_figures(round, scope, client, figures)
    progress.add_traffic("personalize", found.traffic.up_bytes, found.traffic.down_bytes, found.traffic.seconds)
    for client, work in found.work.items():
        sizes, full = parts.sizes_of(client), parts.job.tuning.kind == "full"
        progress.figures["flops"] += train_flops(int(work["tokens"]), sizes, full=full)
        progress.figures["seconds"]["train"] += work["seconds"]
        progress.note_peak(int(work.get("peak_bytes", 0)))


def _section(parts: Parts, progress: Progress, found: PersonalFigures, after: Moment) -> dict[str, Any]:
    """Return the figures of base, global and personal weights on the clients' own test parts, and the personal ones on the public set."""
    personal = found.parts["test"]
    base = {client: own for client, own in _before(progress).items() if client in personal}
    shared = {client: own for client, own in after.clients.items() if client in personal}
    columns: dict[str, Figures] = {"base": base, "global": shared, "personal": personal, "public": found.parts["public"]}
    return {
        **{
            name: {**summarize_clients(figures), "pooled": pool(figures.values())} for name, figures in columns.items() if figures
        },
        "kept": sum(int(work.get("kept", 1)) for work in found.work.values()),
        "clients": {
            client: {"kept": bool(work.get("kept", 1)), **{name: dict(of.get(client, {})) for name, of in columns.items()}}
            for client, work in sorted(found.work.items())
        },
    }


def _before(progress: Progress) -> dict[ClientId, dict[str, float]]:
    """Return the clients' figures on their own test parts before the first round."""
    found: dict[ClientId, dict[str, float]] = {}
    for row in progress.rows["evaluations"]:
        if row["round"] == 0 and row["scope"] == "client":
            found.setdefault(row["client"], {}).setdefault(row["metric"], row["value"])  # the first: round 0 may be kept, too
    return found
