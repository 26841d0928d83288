"""What a run does after its last round, and what it does it with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..assembly import Parts
from ..interfaces import Federation
from ..tensors import Tensors
from .folder import RunFolder
from .measure import Moment, Notify
from .progress import Progress


@dataclass(frozen=True, kw_only=True)
class End:
    """A run after its last round, as phases find it; they add rows, traffic and costs to its progress."""

    parts: Parts
    federation: Federation
    progress: Progress
    shared: Tensors  # the weights that the federation ends with
    after: Moment  # their figures
    round: int  # that they are of
    folder: RunFolder
    notify: Notify


Phase: TypeAlias = Callable[[End], dict[str, Any] | None]
"""What is done after the last round; returns a section of the summary, or None where a job has no use for it."""
