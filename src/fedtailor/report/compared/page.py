"""The page of several runs, made of their folders alone."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from rich.table import Table
from rich.text import Text

from ...diagnoses import diagnose
from ...storage import write_text
from ...units import bytes_text, flops_text, seconds_text
from ..page.markup import table_html
from ..page.page import check_page, render
from ..plain import plain_table
from ..read import Run
from ..wording import figure, metric_name, metrics_in, plural, spread_figure
from .charts import against_bytes, convergences, paired
from .groups import Group, groups_of, main_metric, spread, unlike

MOST_METRICS = 4
COSTS = (  # of the summary: their titles, how they are written
    ("sent by clients", ("traffic", "up_bytes"), bytes_text),
    ("sent to clients", ("traffic", "down_bytes"), bytes_text),
    ("computation", ("flops", "client_total"), flops_text),
    ("peak memory", ("memory", "peak_bytes"), bytes_text),
    ("time", ("seconds", "total"), seconds_text),
)


def write_comparison(runs: Sequence[Run], file: Path, *, missing: Sequence[str] = (), metric: str = "") -> Path:
    """Write the page of several runs and return where it is; takes the arguments of `comparison_of`.

    Raises:
        SettingError: if what draws it is not installed.
        StorageError: if it cannot be written.
    """
    check_page()
    write_text(file, comparison_of(runs, missing=missing, metric=metric))
    return file


def comparison_of(runs: Sequence[Run], *, missing: Sequence[str] = (), metric: str = "") -> str:
    """Return the page of several runs as HTML; the same folders give the same text.

    Args:
        missing: names of runs that were to be there and have no result.
        metric: that they are compared by; empty: the leading one of those that all have.
    """
    from markupsafe import Markup

    groups, leading = groups_of(runs), main_metric(runs, metric)
    charts = [chart for chart in (against_bytes(groups, leading), paired(groups, leading), convergences(groups)) if chart]
    return render(
        "compared.html.j2",
        name=f"{plural(len(groups), 'setting')}, {plural(len(runs), 'run')}",
        what=f"compared by {metric_name(leading)}",
        unlike=unlike(runs),
        missing=list(missing),
        diagnosis=diagnose(runs),
        quality=Markup(table_html(_quality(groups, runs, leading), "metrics after the runs")),
        costs=Markup(table_html(_costs(groups), "costs of the runs")),
        charts=[(chart, Markup(chart.svg)) for chart in charts],
        runs=[(group.label, seed, str(run.folder)) for group in groups for seed, run in group.runs.items()],
    )


def _quality(groups: Sequence[Group], runs: Sequence[Run], leading: str) -> Table:
    """Return a row for each setting: its metrics, mean ± standard deviation over seeds; the best mean is bold."""
    names = {name: None for run in runs for name in run.summary["metrics"]["after"]}
    metrics = [leading, *(name for name in metrics_in(names) if name != leading)][:MOST_METRICS]
    table = plain_table("setting")
    for title in ("n", *map(metric_name, metrics)):
        table.add_column(title, justify="right")
    best = {metric: _best(groups, metric) for metric in metrics}
    for group in groups:
        cells = [_spread(group, metric, bold=best[metric] is group) for metric in metrics]
        table.add_row(group.label, str(len(group.runs)), *cells)
    return table


def _best(groups: Sequence[Group], metric: str) -> Group | None:
    known = [group for group in groups if group.values(metric)]
    higher = bool(known) and next(iter(known[0].runs.values())).higher_is_better(metric)
    return (max if higher else min)(known, key=lambda group: fmean(group.values(metric).values()), default=None)


def _spread(group: Group, metric: str, *, bold: bool) -> Text:
    values = list(group.values(metric).values())
    if not values:
        return Text("–")
    apart = f" ± {spread_figure(metric, spread(values))}" if len(values) > 1 else ""
    return Text(f"{figure(metric, fmean(values))}{apart}", style="bold" if bold else "")


def _costs(groups: Sequence[Group]) -> Table:
    """Return a row for each setting: what it cost, mean over seeds; the least is bold."""
    table = plain_table("setting")
    for title, *_ in COSTS:
        table.add_column(title, justify="right")
    known = {path: [group.mean(*path) for group in groups] for _, path, _ in COSTS}
    least = {path: min((value for value in values if value), default=None) for path, values in known.items()}
    least = {path: value for path, value in least.items() if known[path].count(value) == 1}  # of equal ones none stands out
    for place, group in enumerate(groups):
        cells = []
        for _, path, wording in COSTS:
            value = None if path[0] == "traffic" and group.alone else known[path][place]
            cells.append(Text("–") if value is None else Text(wording(value), style="bold" if value == least.get(path) else ""))
        table.add_row(group.label, *cells)
    return table
