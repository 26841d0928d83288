"""Settings of local training, and the learning rate that follows from them."""

import math
from dataclasses import dataclass
from typing import Literal

from ..errors import SettingError
from ..limits import BatchSize, Epochs, LearningRate, Number, Rounds, Steps


@dataclass(frozen=True, kw_only=True)
class LocalTraining:
    """What a client does between receiving the shared weights and sending its update."""

    epochs: Epochs = 1.0  # passes over the client's training part in a round; a fraction is allowed
    steps: Steps | None = None  # optimizer steps in a round; if given, `epochs` is not used
    batch_size: BatchSize = 8  # examples in one forward pass
    accumulate: BatchSize = 1  # forward passes in one optimizer step
    optimizer: Literal["adamw", "sgd"] = "adamw"  # starts fresh in each round, unless keep_optimizer
    learning_rate: LearningRate | Literal["auto"] = (
        "auto"  # of a client's optimizer, before warm-up and schedule; auto: usual for the tuning
    )
    head_learning_rate: LearningRate | Literal["auto"] | None = (
        "auto"  # of a classifier's head, which begins untrained; null: learning_rate; auto: usual for the tuning, where learning_rate is auto too
    )
    weight_decay: Number = 0.0  # of the optimizer
    momentum: float = 0.0  # of sgd
    proximal: Number = 0.0  # FedProx: weight mu of the pull back to the received weights, at least 0; 0.001 to 1 are usual
    clip_norm: Number | None = 1.0  # most Euclidean norm of the gradient over all trained weights; null: no clipping
    warmup_steps: Steps = 0  # of the whole run: the learning rate grows linearly over the first so many local steps
    schedule: Literal["constant", "linear", "cosine"] = "constant"  # of the learning rate over rounds
    schedule_rounds: Rounds | None = None  # rounds until the learning rate ends at zero; left out: stop.rounds of the first start
    checkpointing: bool = (
        False  # activations are computed again in the backward pass: less memory, a forward pass more; same losses
    )
    keep_optimizer: bool = False  # a client keeps its optimizer's moments from round to round

    def __post_init__(self) -> None:
        positive = {"epochs": self.epochs, "batch_size": self.batch_size, "accumulate": self.accumulate}
        positive |= {} if self.learning_rate == "auto" else {"learning_rate": self.learning_rate}
        positive |= {} if self.head_learning_rate in ("auto", None) else {"head_learning_rate": float(self.head_learning_rate)}
        positive |= {} if self.steps is None else {"steps": self.steps}
        positive |= {} if self.clip_norm is None else {"clip_norm": self.clip_norm}
        for name, value in positive.items():
            if not (value > 0 and math.isfinite(value)):
                raise SettingError(f"{name} must be a number above 0; got {value}")
        if self.schedule_rounds is not None and self.schedule_rounds < 1:
            raise SettingError(f"schedule_rounds counts rounds, at least 1, or null for stop.rounds; got {self.schedule_rounds}")
        if self.weight_decay < 0 or self.warmup_steps < 0:
            raise SettingError(
                f"weight_decay and warmup_steps must not be negative; got {self.weight_decay}, {self.warmup_steps}"
            )
        if not 0 <= self.proximal < math.inf:
            raise SettingError(f"proximal is the weight of FedProx's penalty, at least 0; got {self.proximal}; 0.01 is usual")
        if not 0 <= self.momentum < 1:
            raise SettingError(f"momentum is the share of velocity kept, in [0, 1); got {self.momentum}")
        if self.learning_rate == "auto" and self.optimizer == "sgd":
            raise SettingError(
                "learning_rate: auto is known for optimizer: adamw alone; give one for sgd, such as learning_rate: 0.1"
            )
        if self.momentum and self.optimizer != "sgd":
            raise SettingError("momentum belongs to optimizer: sgd; adamw has its own moments; remove momentum or choose sgd")

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate before warm-up and schedule, as a number.

        Raises:
            SettingError: if it is still `auto`; `Job.decided` writes the number in its place.
        """
        if self.learning_rate == "auto":
            raise SettingError(
                "learning_rate is auto, which Job.decided() turns into the usual one of the job's tuning; give a number"
            )
        return self.learning_rate

    @property
    def head_factor(self) -> float:
        """What the learning rate is multiplied by for the weights of a classifier's head.

        Raises:
            SettingError: if a learning rate is still `auto`.
        """
        own = self.head_learning_rate
        return 1.0 if own is None or own == "auto" else own / self.peak_learning_rate

    def steps_per_round(self, examples: int) -> int:
        """Return the optimizer steps that a client with so many training examples takes in one round."""
        if self.steps is not None:
            return self.steps
        batches = math.ceil(examples / self.batch_size)
        return max(1, round(self.epochs * math.ceil(batches / self.accumulate)))

    def round_factor(self, round: int, rounds: int) -> float:
        """Return the share of `learning_rate` that holds in `round` (from 1) of a run that was planned with `rounds`."""
        if self.schedule == "constant":
            return 1.0
        left = max(0.0, 1 - (round - 1) / (self.schedule_rounds or rounds))
        return left if self.schedule == "linear" else 0.5 * (1 - math.cos(math.pi * left))

    def least_examples_a_step(self, examples: int) -> int:
        """Return the fewest of a client's training examples that one optimizer step sees: those of the last batch of an epoch."""
        batches = math.ceil(examples / self.batch_size)
        alone = (batches - 1) % self.accumulate  # whole batches that the last step has beside the last batch
        return min(examples, examples - (batches - 1 - alone) * self.batch_size)

    def warmup_factor(self, round: int, step: int, steps: int) -> float:
        """Return the share of the learning rate that warm-up allows at `step` (from 0) of `steps` in `round` (from 1)."""
        if not self.warmup_steps:
            return 1.0
        return min(1.0, ((round - 1) * steps + step + 1) / self.warmup_steps)
