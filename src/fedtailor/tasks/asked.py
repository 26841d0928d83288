"""What others ask of a task that only some of them have; one of the user's own may lack it."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from .task import Task

RECORDED = ("word_rule", "block", "stride")  # settings without which figures cannot be compared


def speaks_chat(task: Task) -> bool:
    """Return whether the backbone's chat template writes the examples."""
    return bool(getattr(task, "chat", False))


def clock_of(task: Task) -> str | None:
    """Return the moment that a chat template writes as now, if it is set."""
    found: str | None = getattr(task, "clock", None)
    return found


def template_of(task: Task) -> str | None:
    """Return the template that an example is written by; None if it is taken as it stands."""
    found: str | None = getattr(task, "template", None)
    return found


def most_tokens_of(task: Task) -> int | None:
    """Return how many tokens of an example are read; None if the task does not bound them by this setting."""
    found: int | None = getattr(task, "max_tokens", None)
    return found


def block_of(task: Task) -> int | None:
    """Return how many tokens a block of running text has; None if texts are not joined."""
    found: int | None = getattr(task, "block", None)
    return found


def calibrates(task: Task) -> bool:
    """Return whether labels' scores are set against those behind an empty text."""
    return bool(getattr(task, "calibrate", True))


def labels_in(task: Task) -> Sequence[str]:
    """Return the labels that a prepared task knows; empty if it has none."""
    return getattr(task, "labels", None) or ()


def recorded_of(task: Task) -> dict[str, Any]:
    """Return the settings that a run's summary keeps, None where the task has none."""
    return {name: getattr(task, name, None) for name in RECORDED}


def at_home(task: Task, names: Collection[str]) -> frozenset[str]:
    """Return the trained weights that stay with the clients by the task itself, such as a discriminator's."""
    stays: Callable[[Collection[str]], Collection[str]] | None = getattr(task, "stays_home", None)
    return frozenset() if stays is None else frozenset(stays(names))
