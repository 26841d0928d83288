"""Whether the tasks of a round pull one way: an observer of its updates, where clients have several tasks."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import torch

from ...interfaces import Seen
from ...records import ClientId, Outcome, Update
from ...tensors import Tensors, add_scaled_, norm, zeros_like
from .drift import filled


@dataclass(frozen=True)
class ByTask:
    """Compares what the clients of each task change with what those of the others do."""

    tasks: Mapping[ClientId, str]  # the names of the tasks of clients that have another than the job's
    usual: str  # that of all others

    def begin(self, shared: Tensors, trained: Collection[str]) -> "TaskMeter":
        """Return what adds up the updates of an attempt, task by task."""
        names = sorted(trained)
        return TaskMeter(tasks=self.tasks, usual=self.usual, zeros=zeros_like({name: shared[name].float() for name in names}))


@dataclass(kw_only=True)
class TaskMeter:
    """Holds one sum of updates for each task."""

    tasks: Mapping[ClientId, str]
    usual: str
    zeros: Tensors
    sums: dict[str, Tensors] = field(default_factory=dict)

    def see(self, update: Update) -> None:
        """Add one client's update to the sum of its task, by its weight."""
        total = self.sums.setdefault(self.tasks.get(update.client, self.usual), zeros_like(self.zeros))
        delta = {name: filled(update.delta[name].float(), value.shape) for name, value in total.items() if name in update.delta}
        add_scaled_({name: total[name] for name in delta}, delta, update.weight)

    def end(self, outcome: Outcome, step: Tensors) -> Seen:
        """Return the cosine of the mean updates of each two tasks, and their mean; nothing where fewer than two took part."""
        found = {
            f"task_cosine: {one}, {other}": _cosine(self.sums[one], self.sums[other])
            for one, other in combinations(sorted(self.sums), 2)
        }
        return Seen(figures={"task_cosine": sum(found.values()) / len(found), **found} if found else {})


def _cosine(left: Tensors, right: Tensors) -> float:
    product = sum(float(torch.dot(left[name].flatten().double(), right[name].flatten().double())) for name in left)
    lengths = norm(left) * norm(right)
    return product / lengths if lengths else float("nan")
