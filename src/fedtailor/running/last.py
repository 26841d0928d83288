"""After the rounds of a protocol that asks something of its clients once more: what came of it, such as the last alignment."""

from collections.abc import Mapping
from typing import Any

from ..assembly import Parts
from ..learning.over_clients import numbers, over_clients
from ..ledger import train_flops
from ..messages import write
from ..messages.work import PARTS, Work
from ..records import ClientId
from ..tasks.evaluation import Evaluation
from ..tuning import written
from .ending import End
from .progress import Progress

SCOPES = {"validation": "aligned-validation", "test": "aligned", "public": "aligned-public"}  # of evaluations.parquet
Figures = dict[str, dict[ClientId, dict[str, Any]]]


def ask_last(end: End) -> Mapping[str, Any]:
    """Ask each client that trains what the protocol asks last; return the section of the summary, by its name, or nothing.

    What clients keep between rounds is not changed: a run that is interrupted here begins this phase again, to the same bits.

    Raises:
        RunError: if no client answered.
    """
    parts, progress, last = end.parts, end.progress, end.parts.protocol.last
    if last is None:
        return {}
    figures: Figures = {part: {} for part in PARTS}
    for client, work in end.answers(write(last.request(progress.state, generate=True)), last.form, last.what):
        _note(parts, progress, client, work, figures)
    for part, scope in SCOPES.items():
        for client, own in figures[part].items():
            progress.note_figures(end.round, scope, client, own)
    return {last.section: {**last.figures(progress.state), **_section(progress, figures, parts.job.evaluation)}}


def _note(parts: Parts, progress: Progress, client: ClientId, work: Work, figures: Figures) -> None:
    """Add one client's work to the progress, and its figures to those of its parts."""
    for part, measured in work.measured.items():
        figures[part][client] = dict(measured)
    progress.figures["flops"] += train_flops(
        work.tokens, parts.clients.sizes_of(client), full=written(parts.job.tuning).every_weight
    )
    progress.figures["seconds"]["train"] += work.seconds
    progress.figures["seconds"]["evaluate"] += work.evaluation_seconds or 0.0
    progress.note_peak(work.peak_bytes or 0)


def _section(progress: Progress, figures: Figures, evaluation: Evaluation) -> dict[str, Any]:
    """Return the figures of the clients' models then."""
    own = {name: figures[part] for name, part in (("own", "test"), ("public", "public")) if figures[part]}
    return {
        **{name: over_clients(each, evaluation) for name, each in own.items()},
        "clients": {
            client: {name: numbers(each.get(client, {})) for name, each in own.items()}
            for client in sorted({client for each in own.values() for client in each})
        },
        "server_tokens": sum(row["server_tokens"] for row in progress.rows["rounds"]),
    }
