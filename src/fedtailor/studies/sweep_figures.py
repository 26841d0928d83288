"""The figures of a sweep's cells, by the names that its table has them under."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..job import Job
from ..metrics import COUNTS as COUNTED
from ..metrics.course import Target, when_reached
from .grid import Axis

if TYPE_CHECKING:
    import pandas as pd

SCOPES = (  # ending of a figure's name -> where the summary has it
    ("", "metrics", "after"),
    ("_before", "metrics", "before"),
    ("_retained", "retained", "after"),
    ("_retained_before", "retained", "before"),
    ("_client_mean", "clients", "mean"),
    ("_client_worst", "clients", "worst"),
    ("_client_p10", "clients", "p10"),
)
PERSONAL = (  # ending -> where the section "personal" has it: of the clients' own weights, of the base, and of each client alone
    ("_personal", "personal", "mean"),
    ("_personal_worst", "personal", "worst"),
    ("_personal_p10", "personal", "p10"),
    ("_personal_public", "public", "mean"),
    ("_personal_retained", "retained", "mean"),
    ("_personal_retained_worst", "retained", "worst"),
    ("_base", "base", "mean"),
    ("_base_worst", "base", "worst"),
    ("_base_p10", "base", "p10"),
    ("_local", "local", "mean"),
    ("_local_worst", "local", "worst"),
    ("_local_p10", "local", "p10"),
    ("_local_public", "local_public", "mean"),
)
DISTILLED = (  # of the clients' own models, where they distil
    ("_aligned", "own", "mean"),
    ("_aligned_public", "public", "mean"),
)
COSTS = {
    "up_bytes": ("traffic", "up_bytes"),
    "down_bytes": ("traffic", "down_bytes"),
    "flops": ("flops", "client_total"),
    "peak_bytes": ("memory", "peak_bytes"),
    "client_memory_bytes": ("memory", "client_estimated_bytes"),
    "seconds": ("seconds", "total"),
}
PUBLIC = {  # of the public set, where clients distil -> where the summary's section has it
    "public_examples": ("examples",),
    "public_fit": ("told_apart", "mean"),
    "labels_unlike": ("labels_unlike",),
}
LEARNING = {"learning_up_bytes": "up_bytes", "learning_down_bytes": "down_bytes"}  # of all messages but those of evaluation
STABILITY = ("rises", "largest_rise", "risen", "last_over_best")  # of the validation loss
TO_TARGET = {"target_rounds": "rounds", "target_bytes": "bytes", "target_seconds": "seconds"}  # what it took to reach it
COUNTS = ("rounds", "best_round", "trainable_parameters")


def spread(table: "pd.DataFrame", axes: Sequence[Axis]) -> "pd.DataFrame":
    """Return a row for each setting but for the seed: `n` seeds done, `of` all, and of every figure mean and standard deviation.

    The standard deviation is that of a sample (n - 1); it is empty where n is 1.
    """
    keys = ["run", *(axis.name for axis in axes if axis.name != "seed")]
    figures = [name for name in figures_of(table) if name not in keys]
    rows = []
    for chosen, group in table.groupby(keys, sort=False, dropna=False):
        done = group[group["status"] == "done"]
        row = dict(zip(keys, chosen, strict=True)) | {"n": len(done), "of": len(group)}
        for name in figures:
            row |= {name: done[name].mean(), f"{name}_sd": done[name].std(ddof=1)}
        rows.append(row)
    import pandas as pd

    return pd.DataFrame(rows)


def directions_in(table: "pd.DataFrame", folder: Path) -> dict[str, bool]:
    """Return whether more is better, for each metric of the user's own that cells report."""
    own: dict[str, bool] = {}
    for name in table["cell"]:
        summary = folder / "cells" / str(name) / "summary.json"
        content = json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else {}
        own |= at(content, ("evaluation", "own_metrics")) or {}
    return own


def figures_of(table: "pd.DataFrame") -> list[str]:
    """Return the columns that hold figures: metrics and costs."""
    known = ("cell", "run", "status", "error", "folder", "stopped_by", "seed")
    return [str(name) for name in table.columns if name not in known and "." not in str(name) and table[name].dtype.kind in "fiu"]


def possible_figures(jobs: Iterable[Job]) -> list[str]:
    """Return the figures that a sweep of these jobs can show, before it is run."""
    metrics: dict[str, None] = {}
    scopes, public = [*SCOPES], list[str]()
    for job in jobs:
        metrics |= dict.fromkeys(("loss", *job.task.metrics, *job.evaluation.directions))
        if job.personalization.personal:
            scopes = [*scopes, *(scope for scope in PERSONAL if scope not in scopes)]
        if job.protocol.own_models:
            scopes, public = [*scopes, *(scope for scope in DISTILLED if scope not in scopes)], [*PUBLIC]
    return [f"{metric}{suffix}" for suffix, _, _ in scopes for metric in metrics] + [
        *COSTS,
        *LEARNING,
        *public,
        *COUNTS,
        *STABILITY,
    ]


def cell_figures(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a run by the names that `possible_figures` gives."""
    found: dict[str, Any] = {}
    for suffix, section, moment in SCOPES:
        found |= {f"{name}{suffix}": value for name, value in summary.get(section, {}).get(moment, {}).items()}
    for whole, scopes in (("personal", PERSONAL), ("distillation", DISTILLED)):
        for suffix, section, moment in scopes:
            content = at(summary, (whole, section, moment)) or {}
            found |= {f"{name}{suffix}": value for name, value in content.items()}
    found |= at(summary, ("retrieval", "metrics")) or {}  # of answers from passages that were found
    found |= {name: summary.get(section, {}).get(key) for name, (section, key) in COSTS.items()}
    found["flops"] = found["flops"] or None  # where nobody trains none are counted
    found |= {name: summary["privacy"][name] for name in ("epsilon", "delta") if "privacy" in summary}
    kinds = summary.get("traffic", {}).get("by_kind", {})
    found |= {name: sum(kinds[kind][key] for kind in kinds if kind != "evaluate") for name, key in LEARNING.items()}
    public = summary.get("distillation", {}).get("public_set", {})
    found |= {name: at(public, path) for name, path in PUBLIC.items()} if public else {}
    for task, of in (summary.get("tasks") or {}).items():
        for moment, ending in (("after", ""), ("personal", "_personal")):
            found |= {f"{name}_of_{task}{ending}": value for name, value in of.get(moment, {}).items() if name not in COUNTED}
    found |= {name: value for name, value in (summary.get("stability") or {}).items() if name in STABILITY}
    return found | {name: summary.get(name) for name in COUNTS} | {"stopped_by": summary.get("stopped_by")}


def target_figures(folder: Path, summary: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """Return what the run in `folder` took to reach a target, by the names of columns; NaN where it did not, and whether it did."""
    import pandas as pd

    file = folder / "rounds.parquet"
    rows: list[dict[str, Any]] = pd.read_parquet(file).to_dict("records") if file.is_file() else []  # type: ignore[assignment]
    found = when_reached(target, summary, rows)
    costs = {name: math.nan if found is None else float(getattr(found, part)) for name, part in TO_TARGET.items()}
    return costs | {"target_reached": float(found is not None)}


def at(section: Any, path: Sequence[str]) -> Any:
    """Return what stands at a path of nested mappings; None if nothing does."""
    for key in path:
        section = section.get(key) if isinstance(section, Mapping) else None
    return section
