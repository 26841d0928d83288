"""What one step on one batch costs: counted once on shapes, and scaled to batches of other shapes."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import BackboneError
from ..learning.recompute import recomputing
from ..learning.worker import Worker
from ..models.heads import output_head
from ..tasks.shard import Shard, tokens_of
from .shapes import Operations, Seen, shapes_of


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a batch is, or the sum over several."""

    rows: float = 0.0
    tokens: float = 0.0  # without padding
    padded: float = 0.0  # tokens with padding
    squares: float = 0.0  # tokens with padding, times the longest sequence of their batch
    targets: float = 0.0  # scored by the output head

    def __add__(self, other: "Size") -> "Size":
        return Size(
            rows=self.rows + other.rows,
            tokens=self.tokens + other.tokens,
            padded=self.padded + other.padded,
            squares=self.squares + other.squares,
            targets=self.targets + other.targets,
        )

    def __mul__(self, factor: float) -> "Size":
        return Size(
            rows=self.rows * factor,
            tokens=self.tokens * factor,
            padded=self.padded * factor,
            squares=self.squares * factor,
            targets=self.targets * factor,
        )


@dataclass(frozen=True, kw_only=True)
class Count:
    """What was counted of one batch."""

    size: Size
    operations: Operations
    saved_bytes: int = 0  # alive between the forward and the backward pass
    peak_bytes: int = 0  # alive at once, at most; saved ones and gradients included

    def flops(self, size: Size) -> float:
        """Return the floating-point operations of batches of other sizes."""
        of, mine = self.operations, self.size
        return (
            of.linear * size.padded / max(1.0, mine.padded)
            + of.attention * size.squares / max(1.0, mine.squares)
            + of.head * size.targets / max(1.0, mine.targets)
        )


@dataclass(frozen=True, kw_only=True)
class StepCount:
    """A step of training, and a forward pass of evaluation."""

    train: Count
    evaluate: Count


def batches_size(shard: Shard, batches: Iterable[Sequence[int]]) -> Size:
    """Return how large batches of these rows of `shard` are together."""
    sizes_N, targets_N = shard.sizes_N.numpy(), _targets(shard)
    found = Size()
    for rows in batches:
        longest = int(sizes_N[rows].max())
        padded = float(len(rows) * longest)
        found += Size(
            rows=len(rows),
            tokens=float(sizes_N[rows].sum()),
            padded=padded,
            squares=padded * longest,
            targets=float(targets_N[rows].sum()),
        )
    return found


def longest_rows(shard: Shard, count: int) -> list[int]:
    """Return the numbers of the `count` largest examples of `shard`."""
    order: list[int] = torch.argsort(shard.sizes_N, descending=True, stable=True)[:count].tolist()
    return order


def count_step(worker: Worker, shard: Shard, *, batch_size: int, checkpointing: bool) -> StepCount:
    """Return what a step on the largest batch of `shard` costs, and what evaluating one does; nothing is computed but shapes.

    Args:
        batch_size: examples of a training batch; those of an evaluation are the worker's.
        checkpointing: whether blocks compute their activations again in the backward pass.

    Raises:
        BackboneError: if the model looks at numbers that are not computed here, so that its cost cannot be counted.
    """
    name = _head_name(worker.model)
    trained = {id(param) for param in worker.params.values()}
    names = {key for key, param in worker.model.named_parameters() if id(param) in trained}
    rows, seen_rows = longest_rows(shard, batch_size), longest_rows(shard, worker.evaluation.batch_size)
    try:
        with shapes_of(worker.model, head=name) as seen, torch.random.fork_rng(devices=[]):
            train = _train(seen, worker, shard, rows, trained=names, checkpointing=checkpointing)
        with shapes_of(worker.model, head=name) as seen, torch.random.fork_rng(devices=[]), torch.no_grad():
            evaluate = _evaluate(seen, worker, shard, seen_rows)
    except Exception as fault:  # whatever a model's own code, or torch's counting of it, runs into on shapes
        raise BackboneError(
            f"what a step of a {type(worker.model).__name__} costs cannot be counted from shapes ({type(fault).__name__}): its code "
            "needs more than shapes; bytes are estimated all the same, and operations by formula"
        ) from fault
    return StepCount(train=train, evaluate=evaluate)


def _train(seen: Seen, worker: Worker, shard: Shard, rows: Sequence[int], *, trained: set[str], checkpointing: bool) -> Count:
    twin = _with_model(worker, seen.model)
    for name, param in seen.model.named_parameters():
        param.requires_grad_(name in trained)
    seen.model.train()
    with recomputing(seen.model, checkpointing):
        with seen.keeping():
            loss, counted = twin.loss(twin.batch(shard, rows))
        (loss / max(1, counted)).backward()  # type: ignore[no-untyped-call]
    return Count(
        size=batches_size(shard, [rows]),
        operations=seen.operations,
        saved_bytes=sum(seen.saved.values()),
        peak_bytes=seen.mode.peak_bytes,
    )


def _evaluate(seen: Seen, worker: Worker, shard: Shard, rows: Sequence[int]) -> Count:
    twin = _with_model(worker, seen.model)
    seen.model.eval()
    with twin.precision():
        twin.loss(twin.batch(shard, rows))
    return Count(size=batches_size(shard, [rows]), operations=seen.operations, peak_bytes=seen.mode.peak_bytes)


def _with_model(worker: Worker, model: nn.Module) -> Worker:
    twin = copy.copy(worker)
    twin.model = model
    return twin


def _targets(shard: Shard) -> Any:
    """Return the tokens of each example that the loss counts; 1 where it counts the example itself."""
    counted_T = getattr(shard, "target_T", None)
    if counted_T is None or not len(counted_T) or not bool(counted_T.any()):
        return np.ones(len(shard))
    ends = np.concatenate([[0], np.cumsum(counted_T.numpy())])
    starts = tokens_of(shard).starts.numpy()
    return ends[starts[1:]] - ends[starts[:-1]]


def _head_name(model: nn.Module) -> str:
    """Return the name of the output head over words within the model; "" if it has none."""
    try:
        head = output_head(model)
    except BackboneError:
        return ""
    return next((name for name, module in model.named_modules() if module is head), "")
