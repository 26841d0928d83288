"""Figures of one run that tables and charts show alike."""

from collections.abc import Mapping
from typing import Any

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
