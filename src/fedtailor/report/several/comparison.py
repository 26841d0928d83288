"""Several runs side by side."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ...metrics.course import Target
from ...metrics.figure import is_implied
from ...units import bytes_text, flops_text, seconds_text
from ..plain import plain_table
from ..read import Run
from ..wording import figure, metric_name, metrics_in
from .steady import steady_rows, target_rows

COSTS = (
    ("sent by clients", ("traffic", "up_bytes"), bytes_text),
    ("sent to clients", ("traffic", "down_bytes"), bytes_text),
    ("computation", ("flops", "client_total"), flops_text),
    ("peak memory", ("memory", "peak_bytes"), bytes_text),
    ("time", ("seconds", "total"), seconds_text),
)
FURTHER = (  # rows below a metric -> where the summary has it
    ("  worst client", "clients", "worst"),
    ("  personal, mean client", "personal", "personal", "mean"),
    ("  personal, worst client", "personal", "personal", "worst"),
    ("  on general text", "retained", "after"),
    ("  personal, on general text", "personal", "retained", "mean"),
)
EXACT = 1e15  # whole numbers below are written without a power
NOT_COMPARED = {"name", "base"}


def compare(runs: Sequence[Run], *, target: Target | None = None) -> RenderableType:
    """Return a column per run: figures after the run, how steady it was, costs, and the settings in which the runs differ; the best is green.

    Args:
        target: what each run took to reach it is shown too.

    Raises:
        SettingError: if no run measured the metric of the target.
    """
    table = plain_table("after the run")
    for run in runs:
        table.add_column(run.folder.name, justify="right", overflow="fold")
    _add_metrics(table, runs)
    table.add_section()
    for title, (section, key), wording in COSTS:
        values = [None if section == "traffic" and run.alone else run.summary.get(section, {}).get(key) for run in runs]
        table.add_row(title, *("–" if value is None else wording(value) for value in values))
    table.add_row("rounds", *(str(run.summary.get("rounds", "–")) for run in runs))
    steady_rows(table, runs)
    if target is not None:
        target_rows(table, runs, target)
    differing = differences([run.settings for run in runs])
    if differing:
        table.add_section()
        for name, texts in differing.items():
            table.add_row(Text(name, style="dim"), *texts)
    return Padding(Group(table), (1, 2), expand=False)


def _add_metrics(table: Table, runs: Sequence[Run]) -> None:
    for metric in metrics_in({name: None for run in runs for name in _at(run.summary, ("metrics", "after"))}):
        for title, *path in ((metric_name(metric), "metrics", "after"), *FURTHER, *_tasks(runs)):
            values = [_at(run.summary, path).get(metric) for run in runs]
            whole = path[0] == "metrics"
            if any(value is not None for value in values) and (whole or not is_implied(metric)):
                table.add_row(
                    Text(title, style="bold" if whole else "dim"),
                    *_marked(metric, values, runs[0].higher_is_better(metric)),
                )


def _tasks(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """Return a row for each task, where clients of a run have several."""
    names = dict.fromkeys(name for run in runs for name in run.summary.get("tasks") or {})
    return [(f"  {name}", "tasks", name, "after") for name in names]


def _at(summary: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    """Return a section in a section, empty where there is none."""
    for key in path:
        summary = summary.get(key) or {}
    return summary


def _marked(metric: str, values: Sequence[float | None], higher_is_better: bool) -> list[Text]:
    """Return the figures of one row, the best in green."""
    known = [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
    best = (max if higher_is_better else min)(known, default=None)
    alone = len(known) > 1 and sum(value == best for value in known) == 1
    return [Text(figure(metric, value), style="green" if alone and value == best else "") for value in values]


def differences(jobs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the settings that are not the same in all jobs, dotted, with each job's value."""
    flat = [_flat(job) for job in jobs]
    names = sorted({name for job in flat for name in job if name.split(".")[0] not in NOT_COMPARED})
    return {name: [job.get(name, "–") for job in flat] for name in names if len({job.get(name) for job in flat}) > 1}


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(value, Mapping) and value:
        return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{prefix}.{key}" if prefix else str(key)).items()}
    return {prefix: setting_text(value)}


def setting_text(value: object) -> str:
    """Return a value of a setting, equal ones alike: 16 and 16.0 are one number."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(setting_text, value))}]"
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return str(int(value))
    return "null" if value is None else str(value)
