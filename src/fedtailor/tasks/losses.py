"""One pass over a set of examples: the sums that its figures follow from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..limits import BatchSize
from .shard import Shard, evaluation_batches

Progress = Callable[[int, int], None]  # done, of how many
OfRows = Callable[
    [Sequence[int]], tuple[float, int, Tensor | None]
]  # rows -> sum of the loss, its targets, scores [B, C] of classes

SAMPLE_ROWS = 64  # most rows of a client's validation part that a round's gain is measured on


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Sums over a whole set."""

    total: float  # of the loss, in nats
    counted: int  # targets: tokens, or texts for classification
    predicted: Mapping[int, int]  # class by row; empty but for classification
    classes: int = 0  # that a row may have
    sample_loss: float | None = None  # mean over the rows of `sample_of`, where the set has more


def sum_losses(
    shard: Shard,
    of_rows: OfRows,
    *,
    batch_size: BatchSize,
    progress: Progress | None = None,
    sampled: bool = False,
    sample_alone: bool = False,
) -> Losses:
    """Return the sums of the loss over all examples of `shard`, and the likeliest class of each where there are scores.

    Args:
        sampled: whether the loss over the rows of `sample_of` is wanted besides.
        sample_alone: whether these are the only rows that are measured.
    """
    total, counted, done, classes = 0.0, 0, 0, 0
    sample_total, sample_counted = 0.0, 0
    predicted: dict[int, int] = {}
    several = len(shard) > SAMPLE_ROWS and (sampled or sample_alone)
    batches = list(evaluation_batches(shard.sizes_N.tolist(), min(batch_size, SAMPLE_ROWS) if several else batch_size))
    sample = sample_of(batches) if several else set[int]()
    for place, rows in enumerate(batches):
        if sample_alone and several and place not in sample:
            continue
        loss, count, scores_BC = of_rows(rows)
        if scores_BC is not None:
            predicted.update(zip(rows, scores_BC.argmax(-1).tolist(), strict=True))
            classes = scores_BC.shape[-1]
        total, counted = total + loss, counted + count
        if place in sample:
            sample_total, sample_counted = sample_total + loss, sample_counted + count
        done += len(rows)
        if progress:
            progress(done, len(shard))
    sample_loss = sample_total / sample_counted if sample_counted else None
    return Losses(total=total, counted=counted, predicted=predicted, classes=classes, sample_loss=sample_loss)


def sample_of(batches: Sequence[Sequence[int]]) -> set[int]:
    """Return the places of the batches that stand for all: at most 64 rows, spread evenly from the longest to the shortest."""
    count = min(len(batches), max(1, SAMPLE_ROWS // max(map(len, batches))))
    return {round((part + 0.5) * len(batches) / count - 0.5) for part in range(count)}
