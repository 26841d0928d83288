"""How steady runs were, and what they took to reach a target: rows of a comparison, and a table of a sweep."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ...errors import SettingError
from ...metrics.course import Target, known_targets, when_reached
from ...units import bytes_text, seconds_text
from ..plain import plain_table
from ..read import Run
from ..wording import figure, spread_figure

if TYPE_CHECKING:
    import pandas as pd

RISES, LAST = "rises of the validation loss", "last above best"
TARGET = ("target_rounds", "target_bytes", "target_seconds")  # columns of a sweep with a target


def steady_rows(table: Table, runs: Sequence[Run]) -> None:
    """Add how often and how far the validation loss rose, and how far the last one lies above the best, if any run knows."""
    found = [run.summary.get("stability") or {} for run in runs]
    if not any(found):
        return
    table.add_row(RISES, *(_rises(each) for each in found))
    table.add_row(LAST, *(figure("loss", each.get("last_over_best")) for each in found))


def target_rows(table: Table, runs: Sequence[Run], target: Target) -> None:
    """Add what each run took to reach a target.

    Raises:
        SettingError: if no run measured its metric.
    """
    known = list(dict.fromkeys(name for run in runs for name in known_targets(run.summary)))
    if target.metric not in known:
        raise SettingError(f"--target names {target.metric!r}, which none of these runs measured; they have {', '.join(known)}")
    found = [when_reached(target, run.summary, run.rows("rounds")) for run in runs]
    table.add_section()
    table.add_row(f"rounds to {target}", *("not reached" if each is None else str(each.rounds) for each in found))
    table.add_row("  bytes, both ways", *("–" if each is None else bytes_text(each.bytes) for each in found))
    table.add_row("  seconds of training", *("–" if each is None else seconds_text(each.seconds) for each in found))


def steady_table(means: "pd.DataFrame", heads: Sequence[str]) -> list[RenderableType]:
    """Return a table of how steady the runs of each setting were; nothing where no validation loss was measured twice.

    Args:
        means: a row for each setting; figures, and beside each its standard deviation NAME_sd.
        heads: columns that say which setting it is.
    """
    if "rises" not in means or not means["rises"].notna().any():
        return []
    aims = [name for name in TARGET if name in means]
    grid = plain_table(heads[0])
    for title in (
        *heads[1:],
        "loss over seeds",
        "rises",
        "largest",
        LAST,
        *("to target: " + name.removeprefix("target_") for name in aims),
    ):
        grid.add_column(title, justify="right", overflow="fold")
    for row in means.to_dict("records"):
        values = ["" if _unknown(row[name]) else str(row[name]) for name in heads]
        spread = f"± {spread_figure('loss', row.get('loss_sd'))}" if not _unknown(row.get("loss_sd")) else "–"
        steady = [figure("", row["rises"]), figure("loss", row["largest_rise"]), figure("loss", row["last_over_best"])]
        grid.add_row(*values, spread, *steady, *(_to_target(name, row) for name in aims))
    return ["", Text("how steady the validation loss was, mean over seeds", style="dim"), grid]


def _rises(found: dict[str, Any]) -> str:
    if not found:
        return "–"
    return f"{found['rises']}" + (f", largest {figure('loss', found['largest_rise'])}" if found["rises"] else "")


def _to_target(name: str, row: dict[Any, Any]) -> str:
    """Return the mean over the seeds that reached it, and how many did where not all."""
    value: Any = row.get(name)
    if _unknown(value):
        return "not reached"
    wordings: Mapping[str, Callable[[float], str]] = {"target_bytes": bytes_text, "target_seconds": seconds_text}
    text = wordings[name](float(value)) if name in wordings else f"{float(value):.3g}"
    reached, done = row.get("target_reached", 1.0), row["n"]
    return text + ("" if reached >= 1 else f" ({round(reached * done)} of {done})")


def _unknown(value: object) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))
