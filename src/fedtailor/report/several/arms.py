"""Several systems beside each other in one table: what each reaches, sends, computes and holds."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from ...metrics import directions
from ...units import bytes_text, flops_text, seconds_text
from ..plain import plain_table
from ..wording import plural
from .crossover import SENT, Crossover
from .steady import steady_table
from .sweep import cost_text, failed_cells, spread_text, title_of, value_of

if TYPE_CHECKING:
    import pandas as pd

FEDERATED = "federated"
LOST = "_lost"
COSTS = (
    ("sent by clients", SENT[0], bytes_text),
    ("sent to clients", SENT[1], bytes_text),
    ("computation", "flops", flops_text),
    ("client memory", "client_memory_bytes", bytes_text),
    ("peak", "peak_bytes", bytes_text),
    ("time", "seconds", seconds_text),
)
NOTE = (
    "bytes and computation are of all clients over the whole run, evaluation apart; client memory is estimated: the frozen weights that a client "
    "holds, those under training, their gradients and moments, without activations; peak and time are those of the whole simulation, in one process"
)


def show_arms(
    table: "pd.DataFrame",
    means: "pd.DataFrame",
    *,
    settings: Sequence[str],
    metric: str,
    folder: str,
    crossover: Crossover | None = None,
    columns: Sequence[str] = (),
    leaving: Mapping[str, Sequence[tuple[str, str]]] | None = None,
) -> RenderableType:
    """Return a row for each cell of each arm, means over seeds, and below it what was found.

    Args:
        table: a row a run.
        means: a row for each cell: `arm`, `run`, settings, figures, and beside each its standard deviation NAME_sd.
        settings: the settings that arms vary, but for the seed.
        metric: the figure that arms are compared by.
        columns: further figures; a row whose run has not measured one has a dash there.
        leaving: arm -> each kind of message that leaves a client of it, and what is in it.
    """
    own = f"{metric}_aligned_public"
    lost = f"{metric}{LOST}"
    shown = [
        metric,
        *(name for name in columns if name in means),
        *([lost] if lost in means else []),
        *([own] if own in means and means[own].notna().any() else []),
    ]
    grid = plain_table("system")
    heads = [*(short(name) for name in settings), "n", *map(title_of, shown), *(title for title, _, _ in COSTS)]
    for title in heads:
        grid.add_column(title, justify="right", overflow="fold")
    for row in means.to_dict("records"):
        count = f"{row['n']}" if row["n"] == row["of"] else f"{row['n']} of {row['of']}"
        sent = {name: math.nan for name in SENT} if row["run"] != FEDERATED else {}  # nobody sends where nobody federates
        costs = [cost_text(row | sent, name, wording) for _, name, wording in COSTS]
        values = [value_of(row[name]) if known(row[name]) else "" for name in settings]
        grid.add_row(str(row["arm"]), *values, count, *(spread_text(name, row) for name in shown), *costs)
    title = "mean ± standard deviation over n seeds" if means["n"].max() > 1 else "one run each"
    parts: list[RenderableType] = [
        Text(title, style="dim"),
        "",
        grid,
        Text(NOTE, style="dim"),
        *leaving_table(leaving or {}),
        *steady_table(means, ["arm", *settings]),
        *failed_cells(table),
    ]
    parts += ["", *crossing_lines(crossover)] if crossover is not None else []
    return Padding(Group(*parts, "", Text.assemble(("result  ", "dim"), (folder, "bold"))), (1, 2), expand=False)


def leaving_table(leaving: Mapping[str, Sequence[tuple[str, str]]]) -> list[RenderableType]:
    """Return a row for each kind of message that may leave a client of an arm; nothing without arms."""
    if not leaving:
        return []
    table = plain_table("leaves a client of")
    table.add_column("message", overflow="fold")
    table.add_column("what is in it", overflow="fold")
    for arm, kinds in leaving.items():
        for place, (kind, content) in enumerate(kinds or [("–", "nothing: nobody shares")]):
            table.add_row(arm if place == 0 else "", Text(kind), Text(content))
    return ["", table]


def with_lost(
    means: "pd.DataFrame", *, metric: str, base: Mapping[str, Any], own: Mapping[str, bool] | None = None
) -> "pd.DataFrame":
    """Return the means with one column more, METRIC_lost: what a cell is behind the cell of its arm that has the settings `base`.

    Positive is worse, whether a metric is better when it is high or low; `own` says so of each metric of the user's own.
    """
    if not base or metric not in means or any(name not in means for name in base):
        return means
    sign = 1 if directions(own).get(metric, False) else -1
    first = means.loc[(means[list(base)] == list(base.values())).all(axis=1)].set_index("arm")[metric]
    return means.assign(**{f"{metric}{LOST}": sign * (means["arm"].map(first) - means[metric])})


def crossing_lines(crossover: Crossover) -> list[RenderableType]:
    """Return, for each line of the other arm, the size from which on it is the cheaper one."""
    found = [
        Text(f"{crossover.of} sends more than {crossover.under} {label} from {plural(size, 'public example')} on")
        for label, size in crossover.dearer_from.items()
    ]
    return [
        *found,
        Text(
            f"by {crossover.per_item:,.0f} bytes a public example, fitted to {plural(len(crossover.sizes), 'size')}", style="dim"
        ),
    ]


def point_label(first: Mapping[Any, Any], last: Mapping[Any, Any], settings: Sequence[str], varied: Sequence[str]) -> str:
    """Return what distinguishes cells from the others of their arm, from the first to the last: rank 16, or cut 1 … 3; words stand alone: iid."""
    parts = []
    for name in settings:
        if name in varied and known(first[name]):
            values = dict.fromkeys(value_of(row[name]) for row in (first, last))
            head = "" if isinstance(first[name], str) else f"{short(name)} "
            parts.append(head + " … ".join(values))
    return ", ".join(parts)


def short(setting: str) -> str:
    """Return the last part of a setting's name: rank for tuning.rank, public for protocol.public_limit."""
    return setting.rpartition(".")[2].removesuffix("_limit").replace("_", " ")


def known(value: object) -> bool:
    """Return whether a cell has a value of a setting; one that its arm does not know is None, or NaN among numbers."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))
