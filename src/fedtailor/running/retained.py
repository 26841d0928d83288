"""What customization forgets: the loss on general text, before round 1 and of the weights that are kept."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from ..assembly import Parts
from ..diverged import check_loss
from ..tensors import Tensors
from .ending import End
from .measure import Notify
from .progress import Progress

SCOPE = "retained"  # of evaluations.parquet


def measure_retained(parts: Parts, progress: Progress, shared: Tensors, notify: Notify, *, round: int) -> None:
    """Note the loss of the shared weights of a round on general text, if the job names any and it is not known; round 0 is the backbone as it is.

    Raises:
        Diverged: if it is not finite.
    """
    text = parts.clients.retained
    if text is None or _loss(progress, round) is not None:
        return
    notify("evaluating", what="general text", done=0, of=1)
    parts.worker.load(shared)
    with parts.worker.untrained() if round == 0 else nullcontext(parts.worker) as worker:
        loss = text.loss(worker)
    check_loss("loss on general text", loss)
    progress.note_figures(round, SCOPE, "", {"loss": loss})


def retained_section(end: End) -> Mapping[str, Any]:
    """Return the section of the summary, by its name; nothing if no general text was measured."""
    text = end.parts.clients.retained
    if text is None:
        return {}
    losses = {"before": _loss(end.progress, 0), "after": _loss(end.progress, end.round)}
    return {"retained": {**{moment: {"loss": loss} for moment, loss in losses.items()}, "tokens": text.counted}}


def _loss(progress: Progress, round: int) -> float | None:
    return progress.known(round).get(SCOPE, {}).get("", {}).get("loss")
