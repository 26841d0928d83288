"""After the rounds of a protocol in which each client has a model of its own: the last alignment, and how good these models are."""

from typing import Any

from ..assembly import Parts
from ..learning.over_clients import numbers, over_clients
from ..ledger import train_flops
from ..messages.work import PARTS
from ..protocols.distillation.messages import Aligned
from ..records import ClientId
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
    parts, progress = end.parts, end.progress
    message = parts.protocol.last_request(progress.state, generate=True)
    if message is None:
        return None
    figures: Figures = {part: {} for part in PARTS}
    for client, aligned in end.answers(message, Aligned, "the last alignment"):
        _note(parts, progress, client, aligned, figures)
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
