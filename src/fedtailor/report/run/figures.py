"""Figures of one run that tables and charts show alike."""

from collections.abc import Mapping
from typing import Any

from ..read import Run

PHASES = (  # of summary.seconds: how they are called
    ("train", "training"),
    ("evaluate", "measuring"),
    ("exchange", "exchange"),
    ("server", "server"),
    ("save", "saving"),
    ("alone", "each alone"),
)


def client_figures(run: Run) -> dict[str, tuple[dict[str, float], dict[str, float]]]:
    """Return each client's figures on its own test part before the first round and in the round that was kept."""
    rows = run.rows("evaluations", scope="client")
    kept = run.summary.get("best_round") if run.summary.get("kept", "best") == "best" else None
    found = {}
    for client, own in by_client(rows).items():
        indices = [row["round"] for row in own]
        found[client] = (_at(own, min(indices)), _at(own, max(indices)) | _at(own, kept))
    return found


def by_client(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each client, in order."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(str(row["client"]), []).append(row)
    return groups


def _at(rows: list[dict[str, Any]], round: object) -> dict[str, float]:
    return {str(row["metric"]): number_in(row, "value") for row in rows if row["round"] == round and "value" in row}


def number_in(row: Mapping[Any, Any], name: str) -> float:
    """Return a cell's number; 0 if there is none."""
    value = row.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
