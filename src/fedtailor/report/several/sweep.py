"""A sweep in one table: a row for each setting, with mean and standard deviation over seeds."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from ...metrics import METRICS, directions
from ...units import bytes_text, seconds_text
from ..plain import plain_table
from ..wording import figure, metric_name, plural, spread_figure
from .steady import steady_table

if TYPE_CHECKING:
    import pandas as pd

BASELINES = ("central", "central-steps", "local")  # nobody sends anything there
MOST_METRICS = 4  # beside the chosen one
ENDINGS = {  # of a figure's name -> what the heading says of whose it is
    "_before": " before",
    "_retained": " on general text",
    "_retained_before": " on general text before",
    "_client_mean": ", mean client",
    "_client_worst": ", worst client",
    "_client_p10": ", 10th percentile of clients",
    "_personal": ", personal",
    "_personal_worst": ", personal, worst client",
    "_personal_p10": ", personal, 10th percentile of clients",
    "_personal_public": ", personal, on the test set",
    "_personal_retained": ", personal, on general text",
    "_personal_retained_worst": ", personal, worst client, on general text",
    "_base": ", base, mean client",
    "_base_worst": ", base, worst client",
    "_base_p10": ", base, 10th percentile of clients",
    "_local": ", each alone",
    "_local_worst": ", each alone, worst client",
    "_local_p10": ", each alone, 10th percentile of clients",
    "_local_public": ", each alone, on the test set",
    "_lost": " lost",
    "_aligned": ", clients' own models",
    "_aligned_public": ", clients' own models on the test set",
}


def show_sweep(
    table: "pd.DataFrame",
    means: "pd.DataFrame",
    *,
    settings: Sequence[str],
    metric: str,
    folder: str,
    own: Mapping[str, bool] | None = None,
) -> RenderableType:
    """Return the table of a sweep, and below it the cells that failed.

    Args:
        table: a row a cell.
        means: a row for each setting; figures, and beside each its standard deviation NAME_sd.
        settings: the settings to show, but for the seed.
        metric: the figure that matters most; it comes first, and its best is green.
        own: whether more is better, for each metric of the user's own.
    """
    shown = _metrics(means, metric, own or {})
    heads = ["run", *settings] if means["run"].nunique() > 1 or not settings else list(settings)
    grid = plain_table(heads[0])
    for name in (*heads[1:], "n", *map(title_of, shown), "sent by clients", "time"):
        grid.add_column(name, justify="right", overflow="fold")
    best = _best(means, metric, directions(own))
    for place, row in enumerate(means.to_dict("records")):
        count = f"{row['n']}" if row["n"] == row["of"] else f"{row['n']} of {row['of']}"
        cells = [Text(spread_text(name, row), style="green" if name == metric and place == best else "") for name in shown]
        sent = cost_text(row, "up_bytes", bytes_text) if row["run"] not in BASELINES else "–"
        costs = [sent, cost_text(row, "seconds", seconds_text)]
        grid.add_row(*(value_of(row[name]) for name in heads), count, *cells, *costs)
    title = "mean ± standard deviation over n seeds" if means["n"].max() > 1 else "one run each"
    steady = steady_table(means, heads)
    parts: list[RenderableType] = [Text(title, style="dim"), "", grid, *steady, *spent_together(table), *failed_cells(table)]
    return Padding(Group(*parts, "", Text.assemble(("result  ", "dim"), (folder, "bold"))), (1, 2), expand=False)


def spent_together(table: "pd.DataFrame") -> list[RenderableType]:
    """Return what the cells spent of privacy together, as they are on the same data: epsilons and deltas add up (basic composition); nothing if none spent any."""
    if "epsilon" not in table or not (spent := table[table["epsilon"].notna()]).shape[0]:
        return []
    total, delta = float(spent["epsilon"].sum()), float(spent["delta"].sum())
    text = (
        f"privacy: {plural(len(spent), 'run')} on the same data spent at most epsilon {total:.3g} at delta {delta:.3g} together"
    )
    return ["", Text(text, style="yellow" if len(spent) > 1 else "")]


def failed_cells(table: "pd.DataFrame") -> list[RenderableType]:
    """Return the names of the cells that failed, and why; nothing if none did."""
    failed = table[table["status"] == "failed"]
    if not len(failed):
        return []
    named = [Text.assemble((f"{row['cell']}  ", "bold"), str(row["error"])) for row in failed.to_dict("records")]
    return ["", Text(f"{plural(len(failed), 'cell')} of {len(table)} failed", style="red"), *named]


def spread_text(name: str, row: dict[Any, Any]) -> str:
    """Return mean ± standard deviation; the mean alone where n is 1, a dash where nothing was measured."""
    mean, deviation = row.get(name), row.get(f"{name}_sd")
    text = figure(base_metric(name), mean)
    return f"{text} ± {spread_figure(base_metric(name), deviation)}" if _known(mean) and _known(deviation) else text


def title_of(name: str) -> str:
    """Return the heading of a figure: perplexity_client_worst is perplexity, worst client."""
    base = base_metric(name)
    return metric_name(base).strip() + ENDINGS.get(name.removeprefix(base), "")


def base_metric(name: str) -> str:
    """Return the metric of a figure, without the word for whose it is."""
    return next((name.removesuffix(end) for end in sorted(ENDINGS, key=len, reverse=True) if name.endswith(end)), name)


def value_of(value: object) -> str:
    """Return a setting's value as people read it: 8, 0.001, lora; a dash where a run does not depend on it."""
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _metrics(means: "pd.DataFrame", metric: str, own: Mapping[str, bool]) -> list[str]:
    others = [name for name in ("loss_personal", *own, *METRICS, "loss_client_worst") if name in means.columns and name != metric]
    return [*([metric] if metric in means.columns else []), *others[:MOST_METRICS]]


def _best(means: "pd.DataFrame", metric: str, higher_is_better: Mapping[str, bool]) -> int | None:
    """Return the row with the best mean, or None if there is nothing to choose from."""
    if metric not in means.columns or means[metric].notna().sum() < 2:
        return None
    values = means[metric]
    best = values.argmax() if higher_is_better.get(base_metric(metric), False) else values.argmin()
    return int(best)


def cost_text(row: dict[Any, Any], name: str, wording: Any) -> str:
    """Return a cost in words; a dash where it was not measured."""
    return str(wording(row[name])) if _known(row.get(name)) else "–"


def _known(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
