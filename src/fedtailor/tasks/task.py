"""What every task promises; a task of the user's own is a frozen dataclass that keeps the same promise."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from ..records import Example
from .evaluation import Evaluation, Measured, Pass
from .losses import Losses
from .shard import Batch, Padding, Shard

LogitsAt = Callable[[nn.Module, Tensor], AbstractContextManager[object]]
"""Given a model and bool [B, L]: inside the context, a forward pass gives logits [N, V] at the marked positions alone."""


LossOfBatch = Callable[[Any], tuple[Tensor, int]]  # of a batch: the float32 sum over its counted targets, and their number


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """A term of a loss that is worth computing now and then alone."""

    loss: LossOfBatch
    every: int  # steps from one to the next; it counts as often as that then


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One loss that training makes smaller. Where there are several, each step makes one after the other smaller, each with an optimizer of its own."""

    name: str
    loss: LossOfBatch
    penalty: Penalty | None = None
    part: str | None = None  # of the model, whose weights alone it moves: a part of their names between dots; None: all
    betas: tuple[float, float] = (0.9, 0.999)  # of AdamW


class Task(Protocol):
    """How examples become what a model takes, what is trained, and what can be measured.

    A task may also say which columns it reads beside its fields, see `reads_of`.
    """

    optional: ClassVar[tuple[str, ...]]  # names of fields that are used where they are
    metrics: ClassVar[tuple[str, ...]]  # what a job may ask for
    default_metrics: ClassVar[tuple[str, ...]]

    @property
    def backbone(self) -> str:
        """The kind of backbone that it needs: a name of `models.kinds`."""

    @property
    def figures(self) -> tuple[str, ...]:
        """Every name that an evaluation may report, numbers all."""

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the fields that each example has."""

    def resolve(self, examples: Sequence[Example], base: Path) -> Self:
        """Return the task with all that it takes from the data or from files; relative paths start at `base`."""

    def labels_of(self, examples: Sequence[Example], base: Path = Path()) -> tuple[str, ...]:
        """Return the names of the classes in the order of their numbers; empty for tasks without classes."""

    def prepare(self, examples: Sequence[Example], processor: Any, *, keep_examples: bool) -> Shard:
        """Return the examples as the model takes them, made by the backbone's processor (a tokenizer for texts); those that cannot be used are named in `Shard.dropped` with the reason."""

    def batch(self, worker: "Bench", shard: Shard, rows: Sequence[int]) -> Any:
        """Return the examples numbered `rows` as the model takes them, on the worker's device; `tokens` of it says how much work it is."""

    def objectives(self, worker: "Bench") -> Sequence[Objective]:
        """Return what training makes smaller."""

    def losses(self, worker: "Bench", shard: Shard, how: Pass) -> Losses:
        """Return the sums of the loss over `shard` that its figures follow from."""

    def measure(self, worker: "Bench", shard: Shard, how: Pass) -> Measured:
        """Return the figures of the model on the whole of `shard`, which is not empty; see `evaluate`."""


class TextTask(Task, Protocol):
    """A task of texts, of which every batch has one loss."""

    def loss(self, model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, int]:
        """Return the float32 sum of the loss over the counted targets of `batch`, and their number."""


class Bench(Protocol):
    """What a task computes with: the worker of `learning`, or whatever has the same."""

    @property
    def task(self) -> Task:
        """What is computed."""

    @property
    def model(self) -> nn.Module:
        """The model, with the tuning attached."""

    @property
    def processor(self) -> Any:
        """What makes the model's inputs of data."""

    @property
    def device(self) -> torch.device:
        """Where it is computed."""

    @property
    def seed(self) -> int:
        """The job's."""

    @property
    def evaluation(self) -> Evaluation:
        """What the job asks to be measured."""

    @property
    def logits_at(self) -> LogitsAt:
        """How logits are computed at some positions alone."""

    @property
    def vectors(self) -> Any:
        """What embeds texts: `trained(batch)` with the weights in place, `frozen(texts)` without them."""

    def label_scores(self, texts: Sequence[str], labels: Sequence[str], *, calibrate: bool) -> list[list[float]]:
        """Return, for each text, one score a label behind the prompt in place, in nats."""

    def behind_prompt(self) -> Any:
        """Return the prompt for free text that is in place, to score references behind it: `score(pairs, batch=...)`."""

    def answers(self, texts: Sequence[str]) -> list[str]:
        """Return the line that the model writes for each text behind the prompt in place."""

    def precision(self) -> AbstractContextManager[Any]:
        """Return the context that forward passes run in."""

    def computing(self, *, tokens: int) -> AbstractContextManager[Any]:
        """Return the context that training steps on sequences of so many tokens run in."""


def reads_of(task: Task) -> dict[str, Any]:
    """Return what a task reads of the data, as `data.divide` takes it.

    These are its required and optional fields; `may_be_empty`, the required ones that may be; `context`, further columns that it needs and
    that may be empty; `extra`, further columns that are taken where they are; `running`, whether rows are lines of running text; `whole`, whether
    they stay as they are; and `public`, what files of validation and test hold, where that is something else. A task of the user's that does not say its context is given all columns.
    """
    said = {name: getattr(task, name) for name in ("may_be_empty", "extra", "running", "whole", "public") if hasattr(task, name)}
    if "context" in vars(type(task)):  # a class made of one of ours may read more than that one
        said["context"] = task.context  # type: ignore[attr-defined]
    return {"required": task.required, "optional": task.optional, **said}


def pooling_of(task: Task) -> Literal["model", "mean"]:
    """Return what the head for classes reads: the setting `pooling` of a task that has one."""
    found: Literal["model", "mean"] = getattr(task, "pooling", "model")
    return found


def padding_of(model: nn.Module) -> Padding:
    """Return where the model bears padding, as was found when it was loaded (its attribute `padding_side`); else on the right."""
    found: Padding = getattr(model, "padding_side", "right")
    return found


@runtime_checkable
class Writes(Protocol):
    """A task whose model writes texts that are then scored."""

    def prompts(self, examples: Sequence[Example], tokenizer: Any) -> list[list[int]]:
        """Return the tokens that each text is written after."""


@runtime_checkable
class Draws(Protocol):
    """A task whose model makes pictures, of which a run keeps a sheet."""

    def draw(self, worker: Bench, shard: Shard) -> Any:
        """Return pictures, uint8 [N, height, width, 3]: those of the sheet that the job asks for; their noise depends on their number and the seed alone."""


def task_ends(task: Task, tokenizer: Any) -> list[int]:
    """Return the tokens that end a text which a model writes for this task, beside the usual ones; a task of the user's own may name none."""
    ends = getattr(task, "ends", None)
    return [] if ends is None else list(ends(tokenizer))


def at_moment(task: Task, moment: str) -> Task:
    """Return the task with the moment that a chat template may write, where it has a clock that nobody has set."""
    settable: Any = task
    return replace(settable, clock=moment) if getattr(task, "chat", False) and getattr(task, "clock", "") is None else task


@runtime_checkable
class Scores(Protocol):
    """A task whose model gives logits over classes or tokens, which another model can be taught by."""

    def scores(self, model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, Tensor]:
        """Return float32 logits [N, C] at the counted targets of `batch`, and these [N]; rows in order, then positions in a row."""
