"""How good a model is on a whole set of examples."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

import torch
from torch import nn

from ..errors import SettingError
from ..limits import BatchSize, Rounds
from ..metrics import METRICS, Bleu, OwnMetric
from ..metrics.classes import class_counts
from ..metrics.figure import OF_COUNTS, SAMPLE_LOSS, perplexity
from ..metrics.own import check_own, own_score
from ..models.kinds import kind_of
from ..tasks.shard import Shard
from ..tasks.task import LogitsAt, Task, Writes
from ..tasks.text.generate import Decoding, Progress, evaluating
from .losses import Losses, measure
from .texts import score_texts, write_texts


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
class Evaluated:
    """The figures of one set of examples, and the texts that were generated for them."""

    figures: Mapping[str, float]  # numbers only; empty for an empty set
    counts: Mapping[str, Sequence[int]] = field(default_factory=dict)  # that metrics are made of which are no means
    texts: Sequence[Mapping[str, object]] = ()  # input, references, text; one for each distinct prompt
    bleu_signature: str | None = None
    losses: Losses | None = None  # that the figures follow from


def metrics_of(task: Task, evaluation: Evaluation) -> tuple[str, ...]:
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


def figure_names(task: Task, evaluation: Evaluation) -> list[str]:
    """Return the names of all that an evaluation may report, counts that metrics are made of among them."""
    asked = metrics_of(task, evaluation)
    counted = [f"{name}{OF_COUNTS}" for name in METRICS if name in asked and _is_counted(name, evaluation)]
    own = [metric.name for metric in evaluation.own_metrics]
    return [*task.figures, *own, *([SAMPLE_LOSS] if evaluation.local_gain else []), *counted]


def _is_counted(name: str, evaluation: Evaluation) -> bool:
    """Return whether the counts that a metric is made of are reported: if it is made of any, and classes may be counted or are not."""
    metric = METRICS.get(name)
    return metric is not None and metric.from_counts is not None and (metric.reveals == "figures" or evaluation.class_counts)


def writes_texts(task: Task, evaluation: Evaluation) -> bool:
    """Return whether the metrics that are asked for need texts that the model writes."""
    of_texts = {name for name, metric in METRICS.items() if metric.of_texts is not None}
    return isinstance(task, Writes) and bool(set(metrics_of(task, evaluation)) & of_texts or evaluation.own_metrics)


def evaluate(
    model: nn.Module,
    task: Task,
    shard: Shard,
    tokenizer: Any,
    evaluation: Evaluation,
    *,
    logits_at: LogitsAt,
    precision_context: Callable[[], AbstractContextManager[Any]],
    generate: bool,
    progress: Progress | None = None,
    known: Losses | None = None,
    sampled: bool = False,
    texts_alone: bool = False,
) -> Evaluated:
    """Return the figures of the model on the whole of `shard`, whose examples were kept when it was tokenized.

    `loss` is the mean in nats per counted target (a token, or a text for classification); how many there are, and all that costs
    nothing more, is always reported. Metrics of texts come only where texts are asked for. Examples that share a prompt are one text
    with several references, as in the E2E script; `texts` says how many there are.

    Args:
        precision_context: makes the context that forward passes run in.
        generate: whether to generate texts, if a metric needs them.
        progress: told how many examples are measured, then how many texts are written.
        known: the sums of the loss over these rows under these weights, where they are known: no pass is needed then.
        sampled: whether the loss over the rows of `sample_of` is wanted besides.
        texts_alone: whether the figures of the loss are left out.

    Raises:
        SettingError: if the evaluation names a metric that the task does not have, or one of the user's own fails.
    """
    wanted = metrics_of(task, evaluation)
    if not len(shard):
        return Evaluated(figures={})
    losses, texts = known, list[dict[str, Any]]()
    with torch.inference_mode(), evaluating(model), precision_context():
        if losses is None and not texts_alone:
            losses = measure(
                model,
                task,
                shard,
                pad_id=tokenizer.pad_token_id,
                batch_size=evaluation.batch_size,
                logits_at=logits_at,
                progress=progress,
                sampled=sampled,
            )
        if generate and writes_texts(task, evaluation):
            texts = write_texts(model, task, shard.examples, tokenizer, evaluation.generate, progress=progress)
    figures: dict[str, float] = {}
    counts: dict[str, Sequence[int]] = {}
    if losses is not None and not texts_alone:
        figures |= figures_of_loss(task, shard, losses)
        found, counts = _of_classes(task, shard, losses, evaluation)
        figures |= found
    if not texts:
        return Evaluated(figures=figures, counts=counts, losses=losses)
    written, references = [t["text"] for t in texts], [t["references"] for t in texts]
    scores = score_texts(wanted, written, references, evaluation.bleu)
    own = {metric.name: own_score(metric, written, references) for metric in evaluation.own_metrics}
    return Evaluated(
        figures=figures | {"texts": len(texts)} | {name: found.score for name, found in scores.items()} | own,
        counts=counts | {f"{name}{OF_COUNTS}": found.counts for name, found in scores.items() if found.counts},
        texts=texts,
        bleu_signature=scores["bleu"].signature if "bleu" in scores else None,
        losses=losses,
    )


def figures_of_loss(task: Task, shard: Shard, losses: Losses) -> dict[str, float]:
    """Return what the sums say: means and perplexities, and over how many."""
    figures: dict[str, float] = {"loss": losses.total / losses.counted, "examples": len(shard)}
    if kind_of(task.backbone).causal:
        figures |= {"tokens": losses.counted, "perplexity": perplexity(losses.total, losses.counted)}
        words = 0 if shard.words_N is None else int(shard.words_N.sum())
        if words:
            figures |= {"words": words, "perplexity_word": perplexity(losses.total, words)}
    return figures


def _of_classes(
    task: Task, shard: Shard, losses: Losses, evaluation: Evaluation
) -> tuple[dict[str, float], dict[str, Sequence[int]]]:
    """Return the metrics of the likeliest classes, and the counts of those that are no means and were asked for; empty without classes."""
    if not losses.predicted or shard.labels_N is None:
        return {}, {}
    labels, predicted = shard.labels_N.tolist(), [losses.predicted[row] for row in range(len(shard))]
    counts = class_counts(predicted, labels, losses.classes)
    figures = {name: metric.of_classes(counts) for name, metric in METRICS.items() if metric.of_classes is not None}
    names = [str(name) for name in getattr(task, "labels", ())] or [str(number) for number in range(losses.classes)]
    for metric in evaluation.own_metrics:
        answers, right = [names[said] for said in predicted], [[names[label]] for label in labels]
        figures[metric.name] = own_score(metric, answers, right)
    counted = [name for name in metrics_of(task, evaluation) if name in figures and _is_counted(name, evaluation)]
    return figures, {f"{name}{OF_COUNTS}": counts for name in counted}
