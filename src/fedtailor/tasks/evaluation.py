"""How good a model is on a whole set of examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

import torch

from ..errors import SettingError
from ..limits import BatchSize, Rounds
from ..metrics import METRICS, Bleu, OwnMetric
from ..metrics.figure import OF_COUNTS, SAMPLE_LOSS
from ..metrics.own import check_own
from .losses import Losses, Progress
from .shard import Shard
from .text.generate import Decoding, evaluating

if TYPE_CHECKING:
    from .task import Bench, Task


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is measured, how often, and how texts are generated for it."""

    every: Rounds = 1  # rounds from one evaluation to the next; before round 1 and at the end there always is one
    metrics: Sequence[str | OwnMetric] | None = (
        None  # None: the task's own choice; the loss is always there; classes of your own too
    )
    generate: Decoding = field(default_factory=Decoding)
    generate_at: Literal["ends", "always"] = "ends"  # texts before round 1 and at the end, or at every evaluation
    bleu: Bleu = field(default_factory=Bleu)
    batch_size: BatchSize = 16  # examples at a time for the loss
    local_only: bool = False  # with personalization: each client also trains alone for as many rounds, a column to compare with
    class_counts: bool = True  # counts of a client's classes go with its macro-F1, else there is none over all clients
    local_gain: bool = False  # what a round's local training gains on each client's validation part, in rounds that are evaluated

    def __post_init__(self) -> None:
        for name in ("every", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingError(f"{name} is a whole number, at least 1; got {value!r}")
        if self.generate_at not in ("ends", "always"):
            raise SettingError(f"generate_at is ends or always; got {self.generate_at!r}")
        if self.metrics is not None:
            if isinstance(self.metrics, str):
                raise SettingError(f"metrics is a list of names, such as [loss, bleu]; got the text {self.metrics!r}")
            object.__setattr__(self, "metrics", tuple(self.metrics))
        names = [check_own(metric).name for metric in self.metrics or () if not isinstance(metric, str)]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise SettingError(
                f"metrics names two classes whose figures are both called {twice!r}; give one of them another name"
            )

    @property
    def own_metrics(self) -> list[OwnMetric]:
        """The metrics of the user's own."""
        return [metric for metric in self.metrics or () if not isinstance(metric, str)]

    @property
    def directions(self) -> dict[str, bool]:
        """Whether more is better, for each metric of the user's own."""
        return {metric.name: metric.higher_is_better for metric in self.own_metrics}

    @property
    def no_means(self) -> list[str]:
        """Metrics of the user's own that cannot be had over several clients."""
        return [metric.name for metric in self.own_metrics if not metric.is_mean]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The figures of one set of examples, and the texts that were generated for them."""

    figures: Mapping[str, float]  # numbers only; empty for an empty set
    counts: Mapping[str, Sequence[int]] = field(default_factory=dict)  # that metrics are made of which are no means
    texts: Sequence[Mapping[str, object]] = ()  # input, references, text; one for each distinct prompt
    bleu_signature: str | None = None
    losses: Losses | None = None  # that the figures follow from


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What one measurement of a set is for, beside what the job asks of all."""

    generate: bool = False  # texts are written, if a metric needs them
    known: Losses | None = (
        None  # the sums of the loss over these rows under these weights, where they are known: no pass is needed then
    )
    sampled: bool = False  # the loss over the rows of `sample_of` is wanted besides
    sample_alone: bool = False  # these are the only rows whose loss is measured
    texts_alone: bool = False  # the figures of the loss are left out
    progress: Progress | None = None  # told how many examples are measured, then how many texts are written


def metrics_of(task: "Task", evaluation: Evaluation) -> tuple[str, ...]:
    """Return the names of the metrics that are asked for, those of the user's own among them.

    Raises:
        SettingError: if the evaluation names one that the task does not have.
    """
    if evaluation.metrics is None:
        return tuple(task.default_metrics)
    for name in evaluation.metrics:
        if isinstance(name, str) and name not in task.metrics:
            near = get_close_matches(str(name), task.metrics, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(task.metrics)}."
            raise SettingError(f"metrics names {name!r}, which the task does not have; {hint}")
    return tuple(metric if isinstance(metric, str) else metric.name for metric in evaluation.metrics)


def figure_names(task: "Task", evaluation: Evaluation) -> list[str]:
    """Return the names of all that an evaluation may report, counts that metrics are made of among them."""
    asked = metrics_of(task, evaluation)
    counted = [f"{name}{OF_COUNTS}" for name in METRICS if name in asked and is_counted(name, evaluation)]
    own = [metric.name for metric in evaluation.own_metrics]
    return [*task.figures, *own, *([SAMPLE_LOSS] if evaluation.local_gain else []), *counted]


def is_counted(name: str, evaluation: Evaluation) -> bool:
    """Return whether the counts that a metric is made of are reported: if it is made of any, and classes may be counted or are not."""
    metric = METRICS.get(name)
    return metric is not None and metric.from_counts is not None and (metric.reveals == "figures" or evaluation.class_counts)


def writes_texts(task: "Task", evaluation: Evaluation) -> bool:
    """Return whether the metrics that are asked for need texts that the model writes."""
    of_texts = {name for name, metric in METRICS.items() if metric.of_texts is not None}
    return hasattr(task, "prompts") and bool(set(metrics_of(task, evaluation)) & of_texts or evaluation.own_metrics)


def evaluate(worker: "Bench", shard: Shard, how: Pass) -> Measured:
    """Return the figures of the model on the whole of `shard`, whose examples were kept when it was prepared; none of an empty one.

    `loss` is the mean in nats per counted target (a token, or a text for classification); how many there are, and all that costs
    nothing more, is always reported. Metrics of texts come only where texts are asked for. Examples that share a prompt are one text
    with several references, as in the E2E script; `texts` says how many there are.

    Raises:
        SettingError: if the evaluation names a metric that the task does not have, or one of the user's own fails.
    """
    metrics_of(worker.task, worker.evaluation)
    if not len(shard):
        return Measured(figures={})
    with torch.inference_mode(), evaluating(worker.model), worker.precision():
        return worker.task.measure(worker, shard, how)
