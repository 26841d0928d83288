"""How good a model is on a whole set of examples, and on all clients together."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..errors import SettingError
from ..limits import BatchSize, Rounds
from ..metrics import HIGHER_IS_BETTER
from ..records import ClientId, Example
from ..tasks.classification import Classification
from ..tasks.generate import Decoding, Progress, evaluating
from ..tasks.generate import generate as generate_texts
from ..tasks.metrics import Bleu, accuracy, bleu, chrf, macro_f1, perplexity, rouge_l
from ..tasks.shard import Shard, collate, evaluation_batches, inputs_of
from ..tasks.task import LogitsAt, Task, Writes, by_instance, padding_of

TEXT_METRICS = ("bleu", "chrf", "rougeL")  # of generated texts


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is measured, how often, and how texts are generated for it."""

    every: Rounds = 1  # rounds from one evaluation to the next; before round 1 and at the end there always is one
    metrics: Sequence[str] | None = None  # None: the task's own choice; the loss is always there
    generate: Decoding = field(default_factory=Decoding)
    generate_at: Literal["ends", "always"] = "ends"  # texts before round 1 and at the end, or at every evaluation
    bleu: Bleu = field(default_factory=Bleu)
    batch_size: BatchSize = 16  # examples at a time for the loss
    local_only: bool = False  # with personalization: each client also trains alone for as many rounds, a column to compare with

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


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """The figures of one set of examples, and the texts that were generated for them."""

    figures: Mapping[str, float]  # numbers only; empty for an empty set
    texts: Sequence[Mapping[str, object]] = ()  # input, references, text; one for each distinct prompt
    bleu_signature: str | None = None


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Sums over a whole set."""

    total: float  # of the loss, in nats
    counted: int  # targets: tokens, or texts for classification
    predicted: Mapping[int, int]  # class by row; empty but for classification


def metrics_of(task: Task, evaluation: Evaluation) -> tuple[str, ...]:
    """Return the metrics that are asked for.

    Raises:
        SettingError: if the evaluation names one that the task does not have.
    """
    if evaluation.metrics is None:
        return tuple(task.default_metrics)
    for name in evaluation.metrics:
        if name not in task.metrics:
            near = get_close_matches(str(name), task.metrics, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(task.metrics)}."
            raise SettingError(f"metrics names {name!r}, which the task does not have; {hint}")
    return tuple(evaluation.metrics)


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
) -> Evaluated:
    """Return the figures of the model on the whole of `shard`, whose examples were kept when it was tokenized.

    `loss` is the mean in nats per counted target (a token, or a text for classification); how many there are, and all that costs
    nothing more, is always told. Metrics of texts come only where texts are asked for. Examples that share a prompt are one text
    with several references, as in the E2E script; `texts` says how many there are.

    Args:
        precision_context: makes the context that forward passes run in.
        generate: whether to generate texts, if a metric needs them.
        progress: told how many examples are measured, then how many texts are written.

    Raises:
        SettingError: if the evaluation names a metric that the task does not have.
    """
    wanted = metrics_of(task, evaluation)
    if not len(shard):
        return Evaluated(figures={})
    with torch.inference_mode(), evaluating(model), precision_context():
        losses = measure(
            model,
            task,
            shard,
            pad_id=tokenizer.pad_token_id,
            batch_size=evaluation.batch_size,
            logits_at=logits_at,
            progress=progress,
        )
        texts: list[dict[str, Any]] = []
        if generate and set(wanted) & set(TEXT_METRICS):
            texts = write_texts(model, task, shard.examples, tokenizer, evaluation.generate, progress=progress)
    figures = figures_of_loss(task, shard, losses)
    score = None
    if texts:
        written, references = [t["text"] for t in texts], [t["references"] for t in texts]
        figures["texts"] = len(texts)
        if "bleu" in wanted:
            score = bleu(written, references, evaluation.bleu)
            figures["bleu"] = score.score
        if "chrf" in wanted:
            figures["chrf"] = chrf(written, references)
        if "rougeL" in wanted:
            figures["rougeL"] = rouge_l(written, references)
    return Evaluated(figures=figures, texts=texts, bleu_signature=score.signature if score else None)


def measure(
    model: nn.Module,
    task: Task,
    shard: Shard,
    *,
    pad_id: int,
    batch_size: BatchSize,
    logits_at: LogitsAt,
    progress: Progress | None = None,
) -> Losses:
    """Return the sums of the loss over all examples of `shard`, and for classifiers the likeliest class of each."""
    device = next(model.parameters()).device
    total, counted, done = 0.0, 0, 0
    predicted: dict[int, int] = {}
    for rows in evaluation_batches(shard.lengths_N.tolist(), batch_size):
        batch = collate(shard, rows, pad_id, device, padding_of(model))
        if (instance := by_instance(model)) is not None:
            instance.begin(*inputs_of(batch))
        if isinstance(task, Classification) and batch.labels_B is not None:
            scores_BC = task.logits(model, batch)
            total += F.cross_entropy(scores_BC, batch.labels_B, reduction="sum").item()
            counted += len(rows)
            predicted.update(zip(rows, scores_BC.argmax(-1).tolist(), strict=True))
        else:
            loss, count = task.loss(model, batch, logits_at)
            total, counted = total + loss.item(), counted + count
        done += len(rows)
        if progress:
            progress(done, len(shard))
    return Losses(total=total, counted=counted, predicted=predicted)


def figures_of_loss(task: Task, shard: Shard, losses: Losses) -> dict[str, float]:
    """Return what the sums say: means and perplexities, or the share of right classes, and over how many."""
    figures: dict[str, float] = {"loss": losses.total / losses.counted, "examples": len(shard)}
    if task.backbone_kind == "causal":
        figures |= {"tokens": losses.counted, "perplexity": perplexity(losses.total, losses.counted)}
        words = 0 if shard.words_N is None else int(shard.words_N.sum())
        if words:
            figures |= {"words": words, "perplexity_word": perplexity(losses.total, words)}
    if losses.predicted and shard.labels_N is not None:
        labels, predicted = shard.labels_N.tolist(), [losses.predicted[row] for row in range(len(shard))]
        figures |= {"accuracy": accuracy(predicted, labels), "macro_f1": macro_f1(predicted, labels)}
    return figures


def write_texts(
    model: nn.Module,
    task: Task,
    examples: Sequence[Example],
    tokenizer: Any,
    decoding: Decoding,
    *,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Return input, references and the model's text for each distinct prompt, in the order of their first examples."""
    if not isinstance(task, Writes):
        return []
    groups: dict[tuple[int, ...], dict[str, Any]] = {}
    for example, prompt in zip(examples, task.prompts(examples, tokenizer), strict=True):
        group = groups.setdefault(tuple(prompt), {"input": example.fields["input"], "references": []})
        group["references"] += [text for text in references_of(example) if text not in group["references"]]
    written = generate_texts(model, tokenizer, list(groups), decoding, progress)
    return [{**group, "text": text} for group, text in zip(groups.values(), written, strict=True)]


def references_of(example: Example) -> list[str]:
    """Return the texts that count as right: the example's references if it has any, else its target."""
    given = example.fields.get("references")
    if isinstance(given, str):
        given = [given]
    found = [str(text) for text in given if str(text).strip()] if isinstance(given, Iterable) else []
    return found or [str(example.fields["target"])]


def summarize_clients(per_client: Mapping[ClientId, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return the mean over clients, the worst client and the 10th percentile of each metric.

    The mean weighs all clients alike. The percentile counts from the bad end (with linear interpolation): a tenth of the clients
    is worse off. Counts, such as `tokens`, are left out; a client that lacks a metric does not enter it.
    """
    summary: dict[str, dict[str, float]] = {"mean": {}, "worst": {}, "p10": {}}
    for name, higher_is_better in HIGHER_IS_BETTER.items():
        values = [figures[name] for _, figures in sorted(per_client.items()) if name in figures]
        if not values:
            continue
        summary["mean"][name] = math.fsum(values) / len(values)
        summary["worst"][name] = min(values) if higher_is_better else max(values)
        summary["p10"][name] = float(np.percentile(values, 10 if higher_is_better else 90))
    return summary
