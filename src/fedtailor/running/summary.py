"""summary.json: the figures that programs read."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from ..assembly import Parts, estimate
from ..metrics.course import VALIDATION, stability
from ..tasks.asked import recorded_of
from .measure import Moment
from .progress import Progress


def summarize(
    parts: Parts,
    progress: Progress,
    after: Moment,
    *,
    stopped_by: str,
    baseline: str,
    sections: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the summary of a finished run.

    `metrics` are those of the public test set, or, where the job names none, pooled over the clients' own test parts
    (`metrics_over` says which); `clients` are over the clients' own test parts;
    `sections` are of the phases after the rounds: `distillation`, if clients have models of their own, has these after their last
    alignment, and the public set; `personal`, if clients ended with weights of their own, sets those beside the base and the shared ones.
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
        "better_than_start": _better_than_start(progress),
        "metrics": {"before": before["test"], "after": end["test"]},
        "metrics_over": after.over,
        "counts": {"before": before.get("counts", {}), "after": end["counts"]},
        "stability": stability(_course(progress)),
        "validation_loss": {"before": before["validation_loss"], "after": end["validation_loss"]},
        "clients": _clients(parts, after, before["clients"], end["clients"]),
        **sections,
        **({} if parts.budget is None else {"privacy": parts.budget.summary()}),
        **parts.protocol.outcome(progress.state),
        "traffic": {
            "up_bytes": sum(kind["up_bytes"] for kind in traffic.values()),
            "down_bytes": sum(kind["down_bytes"] for kind in traffic.values()),
            "by_kind": traffic,
        },
        "flops": {"client_total": figures["flops"]},
        "memory": {
            "peak_bytes": figures["peak_bytes"],
            "client_estimated_bytes": max((cost.memory_bytes for cost in estimate(parts).values()), default=0),
        },
        "seconds": figures["seconds"],
        "trainable_parameters": parts.clients.alike.sizes.trained,
        "backbone_sha256": parts.backbone.hashes["weights"],
        "precision": parts.precision,
        "data": {"divergence": parts.divided.divergence, "divergence_over": parts.divided.divergence_over},
        "evaluation": _evaluation(parts, progress, after.round),
    }


def _course(progress: Progress) -> list[float | None]:
    """Return the validation losses before round 1 and of each round, None where it was not evaluated."""
    return [progress.figures["before"]["validation_loss"], *(row.get(VALIDATION) for row in progress.rows["rounds"])]


def _clients(parts: Parts, after: Moment, before: Mapping[str, Any], end: Mapping[str, Any]) -> dict[str, Any]:
    return {"count": len(parts.divided.train), "failed": list(after.failed), "before": before, **end}


def _evaluation(parts: Parts, progress: Progress, round: int) -> dict[str, Any]:
    """Return how figures were taken: what must agree before they are set beside others."""
    evaluation, task = parts.job.evaluation, parts.worker.task
    return {
        "decoding": asdict(evaluation.generate),
        "bleu": asdict(evaluation.bleu),
        "bleu_signature": progress.figures.get("bleu_signature"),
        "sacrebleu": version("sacrebleu"),
        "own_metrics": evaluation.directions,
        "local_gain": parts.measures_gain,
        "texts": {"before": "before", "after": progress.texts_at("client", round, "after")},
        **recorded_of(task),
    }


def kept_weights(parts: Parts, progress: Progress) -> Any:
    """Return the shared weights that are the result: of the best round, or of the last."""
    return progress.best if _keeps_best(parts, progress) else progress.state.shared


def nothing_better(summary: Mapping[str, Any], *, trains: bool) -> str:
    """Return what to say of a run of which no round was better than its start; `trains` says whether weights change."""
    start = summary["validation_loss"]["before"]
    kept = "the result is the start itself, untrained" if summary["kept"] == "best" else "the last round is kept, as the job asks"
    return f"no round had a smaller validation loss than the start ({start:.4g}): {kept}; try " + (
        "another protocol.local.learning_rate, more steps or rounds"
        if trains
        else "more rounds, or a smaller protocol.method.sigma"
    )


def not_fallen(progress: Progress, learning_rate: float) -> str:
    """Return what to say where the first evaluation of what was trained finds the loss no smaller than at the start."""
    now, start = progress.rows["rounds"][-1].get("validation_loss"), progress.figures["best_loss"]
    return (
        f"the validation loss has not fallen by the first evaluation: {now:.4g}, and {start:.4g} at the start; if it stays so, try another "
        f"protocol.local.learning_rate (it is {learning_rate:g})"
    )


def _better_than_start(progress: Progress) -> bool | None:
    """Return whether any round had a smaller validation loss than the start; None if none was measured, or no round was done."""
    if progress.figures["best_round"] is None or not progress.state.version:
        return None
    return bool(progress.figures["best_round"] > 0)


def _keeps_best(parts: Parts, progress: Progress) -> bool:
    """Return whether the best round is kept; where clients' own weights go with the shared ones it is the last, as they have none of an earlier one."""
    return parts.job.stop.keep == "best" and progress.best is not None and not parts.goes_with_last_round
