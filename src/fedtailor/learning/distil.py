"""One model learns from what others say of public examples.

Loss at each position: (1 - weight) CE(label) + weight T^2 KL(softmax(teacher / T) || softmax(student / T)).
Source: Hinton et al., 2015, arXiv:1503.02531, section 2; T^2 keeps the two gradients in proportion whatever T is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..limits import BatchSize, Epochs, LearningRate, Number, Steps
from ..models.attention import quick_attention
from ..models.heads import logits_at
from ..records import ClientId
from ..tasks import Scores, counted_targets, evaluation_batches
from ..tasks.shard import Batch, TokenShard
from ..tasks.text.generate import evaluating
from ..tensors import Tensors
from .local import LocalTraining
from .work import Training
from .worker import Worker

# M positions of a shard (texts, or counted tokens), N those of a batch, C classes or tokens

NO_LABEL = -100  # of a public example without one: its position counts in KL alone
Teacher = Callable[[Tensor], Tensor]  # int64 positions [N] -> float32 log-probabilities [N, C]


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """How one model is fitted to what others say of the round's public examples."""

    epochs: Epochs = 1.0  # passes over the round's public examples; a fraction is allowed
    steps: Steps | None = None  # optimizer steps; if given, `epochs` is not used
    batch_size: BatchSize = 16  # public examples in one step
    learning_rate: LearningRate | Literal["auto"] = (
        "auto"  # of the optimizer, which starts fresh in each round; auto: usual for the tuning
    )
    optimizer: Literal["adamw", "sgd"] = "adamw"  # of the fit
    clip_norm: Number | None = 1.0  # most Euclidean norm of the gradient; null: no clipping

    def __post_init__(self) -> None:
        self.training()

    def training(self) -> LocalTraining:
        """Return the settings of the training loop.

        Raises:
            SettingError: if a value is out of range.
        """
        return LocalTraining(
            epochs=self.epochs,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            optimizer=self.optimizer,
            clip_norm=self.clip_norm,
        )


def distillation_loss(logits_NC: Tensor, target_N: Tensor, teacher_NC: Tensor, *, temperature: float, weight: float) -> Tensor:
    """Return the float32 sum over positions of (1 - weight) CE + weight T^2 KL(teacher || student), both softened by T.

    Args:
        target_N: right classes or tokens; NO_LABEL where none is known, which leaves the KL alone.
        teacher_NC: log-probabilities, finite.
    """
    taught_NC = torch.log_softmax(teacher_NC / temperature, dim=-1)
    said_NC = torch.log_softmax(logits_NC / temperature, dim=-1)
    divergence = F.kl_div(said_NC, taught_NC, reduction="sum", log_target=True)
    loss = weight * temperature**2 * divergence
    return (
        loss
        if weight == 1
        else loss + (1 - weight) * F.cross_entropy(logits_NC, target_N, reduction="sum", ignore_index=NO_LABEL)
    )


def distil(
    worker: Worker,
    shard: TokenShard,
    teacher: Teacher,
    settings: Fitting,
    *,
    temperature: float,
    weight: float,
    round: int,
    client: ClientId = "",
    purpose: str,
) -> Training:
    """Return the training that fits the weights in place to the teacher on `shard`.

    Args:
        teacher: knows the positions of `shard`, which are numbered through its rows, and within a row from left to right.
        purpose: goes in front of the names of the random streams.
    """
    places_of, classes = places_in(shard), classes_of(worker)

    def loss_of(rows: list[int]) -> tuple[Tensor, int, int]:
        batch = worker.batch(shard, rows)
        logits_NC, target_N = scores(worker, batch, classes)
        teacher_NC = teacher(places_of(rows)).to(logits_NC.device)
        loss = distillation_loss(logits_NC, target_N, teacher_NC, temperature=temperature, weight=weight)
        return loss, batch.tokens, len(target_N)

    return Training(
        worker=worker,
        shard=shard,
        settings=settings.training(),
        round=round,
        client=client,
        purpose=purpose,
        loss_of=loss_of,
    )


def places_in(shard: TokenShard) -> Callable[[Sequence[int]], Tensor]:
    """Return what distinguishes the positions [N] of some rows of `shard`, row by row as a batch has them."""
    ends = counted_targets(shard).cumsum(0).tolist()
    begins = [0, *ends[:-1]]
    return lambda rows: torch.cat([torch.arange(begins[row], ends[row]) for row in rows])


def classes_of(worker: Worker) -> int:
    """Return over how many classes or tokens logits go: a head may have more tokens than its tokenizer, for the sake of round sizes."""
    names = worker.task.labels_of(())
    return len(names) if names else 1 + max(worker.processor.get_vocab().values())


def scores(worker: Worker, batch: Batch, classes: int) -> tuple[Tensor, Tensor]:
    """Return float32 logits [N, C] of the weights in place at the counted targets of `batch`, and these [N].

    Args:
        classes: C, as `classes_of` gives it; what a head has beyond it is left out.
    """
    task = worker.task
    assert isinstance(task, Scores)
    quick = quick_attention(worker.device, bfloat16=worker.bfloat16, tokens=batch.input_ids_BL.shape[1])
    with worker.precision(), quick:
        logits_NC, target_N = task.scores(worker.model, batch, logits_at)
    return logits_NC[:, :classes], target_N


def say(worker: Worker, shard: TokenShard, encode: Callable[[Tensor], Tensors]) -> dict[str, Tensor]:
    """Return what the weights in place say at every position of `shard`, encoded row by row, so that memory holds the logits of one batch.

    Args:
        encode: turns float32 logits [N, C] into tensors of N rows each, on the CPU.
    """
    places_of, every, classes = places_in(shard), int(counted_targets(shard).sum()), classes_of(worker)
    found: dict[str, Tensor] = {}
    with torch.no_grad(), evaluating(worker.model):
        for rows in evaluation_batches(shard.sizes_N.tolist(), worker.evaluation.batch_size):
            logits_NC, _ = scores(worker, worker.batch(shard, rows), classes)
            encoded = encode(logits_NC.cpu())
            if not found:
                found = {name: part.new_empty((every, *part.shape[1:])) for name, part in encoded.items()}
            for name, part in encoded.items():
                found[name][places_of(rows)] = part
    return found
