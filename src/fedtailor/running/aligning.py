"""After the rounds of a protocol in which each client has a model of its own: the last alignment, and how good these models are."""

from itertools import count
from typing import Any

from ..assembly import Parts
from ..diverged import wording
from ..errors import RunError
from ..learning.over_clients import numbers, over_clients
from ..ledger import train_flops
from ..messages import read
from ..messages.work import PARTS
from ..protocols.distillation.messages import ALIGN, Aligned
from ..records import ClientFailure, ClientId
from ..tasks.evaluation import Evaluation
from ..tuning import written
from .ending import End
from .progress import Progress

SCOPES = {"validation": "aligned-validation", "test": "aligned", "public": "aligned-public"}  # of evaluations.parquet
Figures = dict[str, dict[ClientId, dict[str, Any]]]


def align_last(end: End) -> dict[str, Any] | None:
    """Let each client that trains align to the server's last logits; return the section of the summary, or None for other protocols.

    What clients keep between rounds is not changed: a run that is interrupted here begins this phase again, to the same bits.

    Raises:
        RunError: if no client could.
    """
    parts, progress, notify = end.parts, end.progress, end.notify
    message = parts.protocol.last_request(progress.state, generate=True)
    if message is None:
        return None
    asked = [info.id for info in parts.sampler.clients]
    figures: Figures = {part: {} for part in PARTS}
    failures: dict[ClientId, ClientFailure] = {}
    replies = count(1)
    for reply in end.federation.ask(dict.fromkeys(asked, message)):
        notify("evaluating", what=f"{reply.client}, aligned", done=next(replies), of=len(asked))
        progress.add_traffic(ALIGN, reply.traffic.up_bytes, reply.traffic.down_bytes, reply.traffic.seconds)
        if reply.message is None:
            assert reply.error is not None
            failures[reply.client] = reply.error
            notify(
                "failure",
                client=reply.client,
                text=f"in the last alignment: {wording(reply.error.kind, reply.error.mark)}; see its log.txt",
            )
            continue
        _note(parts, progress, reply.client, read(reply.message, Aligned), figures)
    if len(failures) == len(asked):
        raise RunError(
            f"none of {len(asked)} clients could align to the last logits: {', '.join(sorted({wording(f.kind, f.mark) for f in failures.values()}))}; "
            "see clients/ID/log.txt, fix the cause and use fedtailor run --resume RUN"
        )
    for part, scope in SCOPES.items():
        for client, own in figures[part].items():
            progress.note_figures(end.round, scope, client, own)
    return {**parts.protocol.last_section(progress.state), **_section(progress, figures, parts.job.evaluation)}


def _note(parts: Parts, progress: Progress, client: ClientId, aligned: Aligned, figures: Figures) -> None:
    """Add one client's work to the progress, and its figures to those of its parts."""
    for part, measured in aligned.measured.items():
        figures[part][client] = dict(measured)
    progress.figures["flops"] += train_flops(
        aligned.tokens, parts.clients.sizes_of(client), full=written(parts.job.tuning).every_weight
    )
    progress.figures["seconds"]["train"] += aligned.seconds
    progress.figures["seconds"]["evaluate"] += aligned.evaluation_seconds or 0.0
    progress.note_peak(aligned.peak_bytes or 0)


def _section(progress: Progress, figures: Figures, evaluation: Evaluation) -> dict[str, Any]:
    """Return the figures of the clients' models after their last alignment."""
    own = {name: figures[part] for name, part in (("own", "test"), ("public", "public")) if figures[part]}
    return {
        **{name: over_clients(each, evaluation) for name, each in own.items()},
        "clients": {
            client: {name: numbers(each.get(client, {})) for name, each in own.items()}
            for client in sorted({client for each in own.values() for client in each})
        },
        "server_tokens": sum(row["server_tokens"] for row in progress.rows["rounds"]),
    }
