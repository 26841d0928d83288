"""Figures of one run that tables and charts show alike."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from ..wording import change, figure

PHASES = (  # of summary.seconds: how they are called
    ("train", "training"),
    ("evaluate", "measuring"),
    ("exchange", "exchange"),
    ("server", "server"),
    ("save", "saving"),
    ("alone", "each alone"),
)


def by_client(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each client, in order."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(str(row["client"]), []).append(row)
    return groups


def number_in(row: Mapping[Any, Any], name: str) -> float:
    """Return a cell's number; 0 if there is none."""
    value = row.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def arrow(metric: str, before: object, after: object) -> Text:
    """Return both figures with an arrow between them; a dash if neither is known."""
    if before is None and after is None:
        return Text("–", style="dim")
    return Text.assemble((f"{figure(metric, before, brief=True)} → ", "dim"), figure(metric, after, brief=True))


def judged(before: object, after: object, higher_is_better: bool) -> Text:
    """Return the change, green if it is for the better."""
    if not isinstance(before, int | float) or not isinstance(after, int | float) or before == after:
        return Text(change(before, after), style="dim")
    return Text(change(before, after), style="green" if (after > before) == higher_is_better else "red")
