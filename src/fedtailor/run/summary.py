"""summary.json: the figures that programs read."""

from typing import Any

from ..assemble import Parts
from ..learning.evaluate import describe_evaluation
from .measure import Moment
from .progress import Progress


def summarize(parts: Parts, progress: Progress, after: Moment, *, stopped_by: str, baseline: str) -> dict[str, Any]:
    """Return the summary of a finished run.

    `metrics` are those of the public test set, or, where the job names none, pooled over the clients' own test parts
    (`metrics_over` says which); `clients` are over the clients' own test parts.
    """
    figures = progress.figures
    before, end = figures["before"], after.to_dict()
    traffic = figures["traffic"]
    return {
        "job_name": parts.job.name,
        "baseline": baseline or None,
        "rounds": progress.state.version,
        "stopped_by": stopped_by,
        "best_round": figures["best_round"],
        "kept": "best" if _keeps_best(parts, progress) else "last",
        "metrics": {"before": before["test"], "after": end["test"]},
        "metrics_over": "test set" if len(parts.server_test) else "clients",
        "validation_loss": {"before": before["validation_loss"], "after": end["validation_loss"]},
        "clients": {"count": len(parts.states), "before": before["clients"], **end["clients"]},
        "traffic": {
            "up_bytes": sum(kind["up_bytes"] for kind in traffic.values()),
            "down_bytes": sum(kind["down_bytes"] for kind in traffic.values()),
            "by_kind": traffic,
        },
        "flops": {"client_total": figures["flops"]},
        "memory": {"peak_bytes": figures["peak_bytes"]},
        "seconds": figures["seconds"],
        "trainable_parameters": parts.sizes.trained,
        "backbone_sha256": parts.backbone.hashes["weights"],
        "precision": parts.precision,
        "data": {"divergence": parts.divided.divergence, "divergence_over": parts.divided.divergence_over},
        "evaluation": describe_evaluation(parts.job.evaluation, parts.job.task),
    }


def kept_weights(parts: Parts, progress: Progress) -> Any:
    """Return the shared weights that are the result: of the best round, or of the last."""
    return progress.best if _keeps_best(parts, progress) else progress.state.shared


def _keeps_best(parts: Parts, progress: Progress) -> bool:
    return parts.job.stop.keep == "best" and progress.best is not None
