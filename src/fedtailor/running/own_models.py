"""After the rounds of a protocol in which each client has a model of its own: the last alignment, and how good these models are."""

from itertools import count
from typing import Any

import numpy as np

from ..assembly import Parts
from ..diverged import wording
from ..errors import RunError
from ..interfaces import Federation
from ..learning.over_clients import numbers, over_clients
from ..learning.public_fit import STEPS
from ..ledger import train_flops
from ..messages import read
from ..messages.work import PARTS
from ..protocols import DistillationRun
from ..protocols.distillation.collect import COUNTS_OF, FIT_OF, SCORES_OF
from ..protocols.distillation.messages import ALIGN, NOW, Aligned
from ..records import ClientFailure, ClientId
from ..tasks.evaluation import Evaluation
from ..tensors import Tensors
from ..tuning import written
from .measure import Notify
from .progress import Progress

SCOPES = {"validation": "aligned-validation", "test": "aligned", "public": "aligned-public"}  # of evaluations.parquet
Figures = dict[str, dict[ClientId, dict[str, Any]]]


def align_last(parts: Parts, federation: Federation, progress: Progress, *, round: int, notify: Notify) -> dict[str, Any] | None:
    """Let each client that trains align to the server's last logits; return the section of the summary, or None for other protocols.

    What clients keep between rounds is not changed: a run that is cut off here begins this phase again, to the same bits.

    Raises:
        RunError: if no client could.
    """
    protocol = parts.protocol
    if not isinstance(protocol, DistillationRun):
        return None
    asked = [info.id for info in parts.sampler.clients]
    message = protocol.last_request(progress.state, generate=True)
    figures: Figures = {part: {} for part in PARTS}
    failures: dict[ClientId, ClientFailure] = {}
    replies = count(1)
    for reply in federation.ask(dict.fromkeys(asked, message)):
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
            progress.note_figures(round, scope, client, own)
    return _section(protocol, progress, figures, parts.job.evaluation)


def _note(parts: Parts, progress: Progress, client: ClientId, aligned: Aligned, figures: Figures) -> None:
    """Add one client's work to the progress, and its figures to those of its parts."""
    for part, measured in aligned.measured.items():
        figures[part][client] = dict(measured)
    progress.figures["flops"] += train_flops(aligned.tokens, parts.sizes_of(client), full=written(parts.job.tuning).every_weight)
    progress.figures["seconds"]["train"] += aligned.seconds
    progress.figures["seconds"]["evaluate"] += aligned.evaluation_seconds or 0.0
    progress.note_peak(aligned.peak_bytes or 0)


def _section(protocol: DistillationRun, progress: Progress, figures: Figures, evaluation: Evaluation) -> dict[str, Any]:
    """Return what there is to tell of the public set and of the clients' models after their last alignment."""
    public = protocol.public
    own = {name: figures[part] for name, part in (("own", "test"), ("public", "public")) if figures[part]}
    return {
        "public_set": {
            "examples": len(public.shard),
            "labelled": public.labelled,
            "a_round": len(public.rows(1)),
            "places_a_round": public.mean_places,
            **_fit(protocol, progress.state.method),
            **_refined(protocol, progress.state.method),
        },
        **{name: over_clients(each, evaluation) for name, each in own.items()},
        "clients": {
            client: {name: numbers(each.get(client, {})) for name, each in own.items()}
            for client in sorted({client for each in own.values() for client in each})
        },
        "server_tokens": sum(row["server_tokens"] for row in progress.rows["rounds"]),
    }


def _fit(protocol: DistillationRun, kept: Tensors) -> dict[str, Any]:
    """Return what clients told of how well the public set fits: the score of each and its mean, and the distance of label counts."""
    scores = {name.removeprefix(FIT_OF): value.item() for name, value in kept.items() if name.startswith(FIT_OF)}
    found: dict[str, Any] = {}
    if scores:
        found["told_apart"] = {"mean": float(np.mean(list(scores.values()))), "clients": scores}
    counts = {name.removeprefix(COUNTS_OF): value for name, value in kept.items() if name.startswith(COUNTS_OF)}
    if counts:
        found["label_counts"] = {client: value.tolist() for client, value in counts.items()}
        found["labels_unlike"] = _unlike(protocol, np.sum([value.numpy() for value in counts.values()], axis=0))
    return found


def _refined(protocol: DistillationRun, kept: Tensors) -> dict[str, Any]:
    """Return how like the clients' own the rows look that were drawn last, beside all public ones: mean scores, 0.5 is even."""
    scores = [value.numpy() for name, value in kept.items() if name.startswith(SCORES_OF)]
    if not scores or NOW not in kept:
        return {}
    score_N = (np.mean(scores, axis=0) + 0.5) / STEPS
    drawn = protocol.public.rows(1, kept[NOW])
    return {"refined": {"score": float(score_N[drawn].mean()), "score_of_all": float(score_N.mean()), "scored_by": len(scores)}}


def _unlike(protocol: DistillationRun, counts_C: np.ndarray) -> float | None:
    """Return the Jensen-Shannon divergence, in bits, of the clients' labels from those of the public set: 0 alike, 1 disjoint."""
    labels_N = protocol.public.shard.labels_N
    assert labels_N is not None
    known = labels_N[labels_N >= 0].numpy()
    if not len(known) or not counts_C.sum():
        return None
    shares = [counts_C / counts_C.sum(), np.bincount(known, minlength=len(counts_C)) / len(known)]
    mean = sum(shares) / 2
    return float(sum(_bits(share, mean) for share in shares) / 2)


def _bits(share_C: np.ndarray, other_C: np.ndarray) -> float:
    """Return KL(share || other) in bits."""
    here = share_C > 0
    return float((share_C[here] * np.log2(share_C[here] / other_C[here])).sum())
