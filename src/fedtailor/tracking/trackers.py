"""Which figures trackers get, and what happens when one of them fails."""

import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, get_args

from ..causes import detail_of
from ..errors import SettingError
from .mlflow import MLflow
from .tensorboard import TensorBoard
from .trackio import Trackio
from .wandb import WandB


class Tracker(Protocol):
    """One run in an experiment tracker; its package is imported when the run begins."""

    def begin(self, name: str, settings: Mapping[str, Any], folder: Path) -> None:
        """Begin a run, with its settings by dotted name, and the folder in which it may keep files."""

    def log(self, figures: Mapping[str, float], round: int) -> None:
        """Take figures of a round; 0 is the start."""

    def end(self) -> None:
        """End the run."""


Name: TypeAlias = Literal["tensorboard", "mlflow", "wandb", "trackio"]
NAMES: tuple[Name, ...] = get_args(Name)
PACKAGES: Mapping[Name, tuple[str, str, Callable[[], Tracker]]] = {  # the module, what pip calls it, the tracker
    "tensorboard": ("tensorboardX", "tensorboardX", TensorBoard),
    "mlflow": ("mlflow", "mlflow-skinny", MLflow),
    "wandb": ("wandb", "wandb", WandB),
    "trackio": ("trackio", "trackio", Trackio),
}
COLUMNS = {  # of a round's row: how trackers call them
    "train_loss": "train/loss",
    "up_bytes": "traffic/up_bytes",
    "down_bytes": "traffic/down_bytes",
    "seconds": "train/seconds",
    "update_norm": "averaging/update_norm",
    "bias": "averaging/bias",
    "epsilon": "privacy/epsilon",
}
COUNTS = ("examples", "tokens", "words", "texts")  # figures of an evaluation that are no metrics


def check_trackers(names: Sequence[Name]) -> None:
    """Raise SettingError, saying what to install, if the package of a tracker is not there."""
    missing = [PACKAGES[name][1] for name in names if importlib.util.find_spec(PACKAGES[name][0]) is None]
    if missing:
        raise SettingError(
            f"report_to needs {' and '.join(missing)}, not installed here: pip install {' '.join(missing)}, or leave it out"
        )


class Trackers:
    """All trackers of a run; one that fails is named once, and not used any more."""

    def __init__(self, names: Sequence[Name], settings: Mapping[str, Any], folder: Path) -> None:
        """Begin nothing yet.

        Args:
            settings: of the run, nested.
            folder: of the run.
        """
        self._trackers: dict[str, Tracker] = {name: PACKAGES[name][2]() for name in names}
        self._settings, self._folder = dict(_flat(settings)), folder
        self._logged: set[tuple[str, int]] = set()

    def see(self, kind: str, facts: Mapping[str, Any]) -> list[str]:
        """Take one event of the run; return a sentence for each tracker that failed at it."""
        failed = []
        for name, tracker in list(self._trackers.items()):
            try:
                self._hand(tracker, kind, facts)
            except Exception as error:  # whatever it is, the run does not depend on it
                del self._trackers[name]
                failed.append(f"{name} gets no more figures, as it failed: {detail_of(error)}")
        self._logged |= {(name, round) for round, figures in (figures_in(kind, facts),) for name in figures}
        return failed

    def _hand(self, tracker: Tracker, kind: str, facts: Mapping[str, Any]) -> None:
        if kind in {"start", "resume"}:
            tracker.begin(self._folder.name, self._settings, self._folder)
        elif kind in {"done", "stopped"}:
            tracker.end()
        round, figures = figures_in(kind, facts)
        fresh = {name: value for name, value in figures.items() if (name, round) not in self._logged}
        if fresh:
            tracker.log(fresh, round)


def figures_in(kind: str, facts: Mapping[str, Any]) -> tuple[int, dict[str, float]]:
    """Return the round and the figures of an event, by the names that trackers show; none of other events."""
    if kind == "round":
        found = {title: facts.get(name) for name, title in COLUMNS.items()}
    elif kind == "evaluated":
        found = {f"test/{name}": value for name, value in (facts.get("figures") or {}).items() if name not in COUNTS}
        found["validation/loss"] = facts.get("validation_loss")
    else:
        return 0, {}
    known = {name: float(value) for name, value in found.items() if isinstance(value, int | float) and math.isfinite(value)}
    return int(facts.get("round") or 0), known


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return settings by dotted name."""
    found: list[tuple[str, Any]] = []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        found += _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return found
