"""One pass over a set of examples: the sums that its figures follow from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from ..limits import BatchSize
from ..tasks.classification import Classification
from ..tasks.shard import Shard, collate, evaluation_batches, inputs_of
from ..tasks.task import LogitsAt, Task, by_instance, padding_of
from ..tasks.text.generate import Progress

SAMPLE_ROWS = 64  # most rows of a client's validation part that a round's gain is measured on


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Sums over a whole set."""

    total: float  # of the loss, in nats
    counted: int  # targets: tokens, or texts for classification
    predicted: Mapping[int, int]  # class by row; empty but for classification
    classes: int = 0  # that a row may have
    sample_loss: float | None = None  # mean over the rows of `sample_of`, where the set has more


def measure(
    model: nn.Module,
    task: Task,
    shard: Shard,
    *,
    pad_id: int,
    batch_size: BatchSize,
    logits_at: LogitsAt,
    progress: Progress | None = None,
    sampled: bool = False,
    sample_alone: bool = False,
) -> Losses:
    """Return the sums of the loss over all examples of `shard`, and for classifiers the likeliest class of each.

    Args:
        sampled: whether the loss over the rows of `sample_of` is wanted besides.
        sample_alone: whether these are the only rows that are measured.
    """
    device = next(model.parameters()).device
    total, counted, done, classes = 0.0, 0, 0, 0
    sample_total, sample_counted = 0.0, 0
    predicted: dict[int, int] = {}
    several = len(shard) > SAMPLE_ROWS and (sampled or sample_alone)
    batches = list(evaluation_batches(shard.lengths_N.tolist(), min(batch_size, SAMPLE_ROWS) if several else batch_size))
    sample = sample_of(batches) if several else set[int]()
    for place, rows in enumerate(batches):
        if sample_alone and several and place not in sample:
            continue
        batch = collate(shard, rows, pad_id, device, padding_of(model))
        if (instance := by_instance(model)) is not None:
            instance.begin(*inputs_of(batch))
        if isinstance(task, Classification) and batch.labels_B is not None:
            scores_BC = task.logits(model, batch)
            of_batch, count = F.cross_entropy(scores_BC, batch.labels_B, reduction="sum").item(), len(rows)
            predicted.update(zip(rows, scores_BC.argmax(-1).tolist(), strict=True))
            classes = scores_BC.shape[-1]
        else:
            loss, count = task.loss(model, batch, logits_at)
            of_batch = loss.item()
        total, counted = total + of_batch, counted + count
        if place in sample:
            sample_total, sample_counted = sample_total + of_batch, sample_counted + count
        done += len(rows)
        if progress:
            progress(done, len(shard))
    sample_loss = sample_total / sample_counted if sample_counted else None
    return Losses(total=total, counted=counted, predicted=predicted, classes=classes, sample_loss=sample_loss)


def sample_of(batches: Sequence[Sequence[int]]) -> set[int]:
    """Return the places of the batches that stand for all: at most 64 rows, spread evenly from the longest to the shortest."""
    count = min(len(batches), max(1, SAMPLE_ROWS // max(map(len, batches))))
    return {round((part + 0.5) * len(batches) / count - 0.5) for part in range(count)}
