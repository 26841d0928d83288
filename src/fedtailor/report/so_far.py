"""A run that has not ended, or never will: what its tables and events say so far, in the form of a summary."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import DataError
from .read import Run, read_run

TRAFFIC = ("up_bytes", "down_bytes")
BEGUN = ("job.yaml", "events.jsonl")  # what a folder has as soon as a run has begun in it


def read_so_far(folder: str | Path) -> Run:
    """Return the run in a folder, finished or not.

    Raises:
        DataError: if no run has begun there, or a file of it is damaged.
    """
    path = Path(folder)
    if (path / "summary.json").exists() or not any((path / name).is_file() for name in BEGUN):
        return read_run(path)
    return Run(path, _summary(Run(path, {})))


def _summary(run: Run) -> dict[str, Any]:
    """Return what can be said of a run before it has a summary; metrics may be empty."""
    evaluated = run.events("evaluated")
    begun = run.events("start", "resume")
    rows = run.rows("rounds", "round", "validation_loss", *TRAFFIC)
    before = next((event.get("figures") or {} for event in evaluated if event.get("round") == 0), {})
    after = evaluated[-1].get("figures") or {} if evaluated else {}
    losses = {int(row["round"]): row["validation_loss"] for row in rows if "validation_loss" in row}
    data = run.settings.get("data")
    train = {side: sum(int(row.get(side, 0)) for row in rows) for side in TRAFFIC}
    peaks = [peak for peak in run.columns("clients", "peak_bytes")[0] if peak]
    return {
        "job_name": str(run.settings.get("name") or run.folder.name),
        "rounds": max((int(row["round"]) for row in rows), default=0),
        "planned_rounds": begun[-1].get("rounds") if begun else None,
        "best_round": min(losses, key=lambda round: losses[round]) if losses else None,
        "metrics": {"before": _figures(before), "after": _figures(after)},
        "metrics_over": "test set" if isinstance(data, Mapping) and data.get("test") else "clients",
        "validation_loss": {"before": evaluated[0].get("validation_loss")} if evaluated else {},
        "traffic": {**train, "by_kind": {"train": train}} if rows else {},
        "memory": {"peak_bytes": max(peaks, default=0)},
        "seconds": {"total": _seconds(run)},
        "unfinished": True,
    }


def _figures(figures: object) -> dict[str, Any]:
    return dict(figures) if isinstance(figures, Mapping) else {}


def _seconds(run: Run) -> float:
    """Return the time from the first event to the last one."""
    log = run.folder / "events.jsonl"
    try:
        times = [datetime.fromisoformat(str(event["time"])) for event in run.events() if "time" in event]
        return (times[-1] - times[0]).total_seconds() if times else 0.0
    except ValueError as error:
        raise DataError(f"{log} has an event without a time that can be read ({error}); put back a copy.") from None
    except TypeError:  # one with a zone, one without: not of one run
        raise DataError(f"{log} has times with and without a zone; put back a copy.") from None
