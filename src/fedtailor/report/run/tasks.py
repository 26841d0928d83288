"""Figures by task, where the clients of a run have several."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from ...metrics.figure import is_implied
from ..plain import plain_table
from ..read import Run
from ..wording import figure, metric_name, metrics_in
from .figures import arrow, judged

NAMED = 2  # clients of a task that are named


def tasks(run: Run) -> Table | None:
    """Return a row for each metric of each task, pooled over the test parts of its clients; None if all clients have one task."""
    section = run.summary.get("tasks")
    if not section:
        return None
    table = plain_table("by task")
    personal = any("personal" in of for of in section.values())
    for title in ("clients", "before → after", "change", *(["personal"] if personal else [])):
        table.add_column(title, justify="right")
    for name, of in section.items():
        before, after = of.get("before", {}), of.get("after", {})
        for metric in metrics_in(after):
            if is_implied(metric):
                continue
            own = [Text(figure(metric, of.get("personal", {}).get(metric)))] if personal else []
            then, now = before.get(metric), after.get(metric)
            cells = [arrow(metric, then, now), judged(then, now, run.higher_is_better(metric)), *own]
            table.add_row(f"{name}: {metric_name(metric)}", _clients(of["clients"]), *cells)
    return table


def _clients(names: Sequence[str]) -> str:
    """Return the clients of a task: their names, or of many how many they are."""
    return ", ".join(names) if len(names) <= NAMED else str(len(names))
