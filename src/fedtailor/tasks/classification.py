"""The task of naming the class of a text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import DataError, SettingError
from ..limits import Length
from ..metrics import METRICS
from ..metrics.classes import class_counts
from ..metrics.figure import OF_COUNTS
from ..metrics.own import own_score
from ..records import Example
from ..text_files import expanded
from .evaluate import is_counted, metrics_of
from .evaluation import Evaluation, Measured, Pass
from .labels import class_numbers, found_labels, read_labels
from .losses import Losses
from .shard import Batch, Shard, TokenShard, one_by_one, tokens_of
from .task import Bench, LogitsAt, Objective, Task, padding_of
from .text.markers import Tokens
from .text.measure import seen_batch, text_objective, token_batch
from .text.tokenization import Marks, Truncate, check_truncate, encode, flat, marks_of, text_of

# B texts, C classes


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Text to one of several classes."""

    kind: Literal["classification"] = "classification"
    labels: Sequence[str] | str | None = None  # names in the order of their numbers; or a JSON or text file; None: from the data
    max_tokens: Length = 128  # of a text, with the tokenizer's marks around it
    truncate: Truncate = "end"  # which end of a longer text is left out; drop: the whole example is
    pooling: Literal["model", "mean"] = (
        "model"  # what the head reads: model, as the backbone's own code has it; mean, the mean over the text's tokens
    )

    required: ClassVar[tuple[str, ...]] = ("text", "label")
    optional: ClassVar[tuple[str, ...]] = ()
    context: ClassVar[tuple[str, ...]] = ()
    backbone: ClassVar[str] = "classifier"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "macro_f1")
    default_metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "macro_f1")
    figures: ClassVar[tuple[str, ...]] = (*metrics, "examples")

    def __post_init__(self) -> None:
        if isinstance(self.max_tokens, bool) or not isinstance(self.max_tokens, int) or self.max_tokens < 2:
            raise SettingError(f"max_tokens is a whole number of tokens, at least 2; got {self.max_tokens!r}")
        check_truncate(self.truncate)
        if self.pooling not in ("model", "mean"):
            raise SettingError(f"pooling is model or mean, got {self.pooling!r}")
        if self.labels is None or isinstance(self.labels, str):
            return
        names = tuple(str(name) for name in self.labels) if isinstance(self.labels, Sequence) else ()
        if len(names) < 2 or len(set(names)) < len(names):
            raise SettingError(f"labels are at least two distinct names, or the path of a file of names; got {self.labels!r}")
        object.__setattr__(self, "labels", names)

    def resolve(self, examples: Sequence[Example], base: Path) -> Self:
        """Return the task with its labels written out.

        Args:
            examples: where labels are found if none are named: for training and validation, of all clients, so that all agree.
            base: the folder that the path of a file of labels starts from.

        Raises:
            SettingError: if the file of labels is missing or holds no list of names.
            DataError: if labels are to be found in the data, and there are fewer than two.
        """
        return replace(self, labels=self.labels_of(examples, base))

    def labels_of(self, examples: Sequence[Example], base: Path = Path()) -> tuple[str, ...]:
        """Return the names of the classes in the order of their numbers; `resolve` says from where, and what is raised."""
        if isinstance(self.labels, str):
            return read_labels(expanded(base, self.labels, "task.labels"))
        return tuple(self.labels) if self.labels is not None else found_labels(examples)

    def prepare(self, examples: Sequence[Example], tokenizer: Any, *, keep_examples: bool) -> TokenShard:
        """Return the texts' tokens, with the tokenizer's own marks, and the numbers of their classes.

        Raises:
            DataError: if a label is none of the known ones, or a column is missing.
            SettingError: if the labels are not known yet; see `resolve`.
        """
        if self.labels is None or isinstance(self.labels, str):
            raise SettingError("labels are not known before the data are read; call Classification.resolve first")
        texts = [text_of(example, "text") for example in examples]
        marks = marks_of(tokenizer)
        rows, kept, cut, dropped, marked = [], [], [], [], 0
        for example, text, tokens in zip(examples, texts, encode(tokenizer, texts), strict=True):
            if reason := self._unusable(text, tokens, marks):
                dropped.append((example.id, reason))
                continue
            rows.append(self._row(tokens, marks))
            kept.append(example)
            cut.append(max(0, len(tokens.ids) - self._room(marks)))
            marked += tokens.marked
        tokens_T, starts = flat(rows)
        return TokenShard(
            tokens_T=tokens_T,
            target_T=torch.zeros(len(tokens_T), dtype=torch.bool),
            starts=starts,
            labels_N=torch.tensor(class_numbers(kept, self.labels), dtype=torch.int64),
            examples=tuple(kept) if keep_examples else (),
            dropped=tuple(dropped),
            cut_N=torch.tensor(cut, dtype=torch.int64),
            marked=marked,
        )

    def opening(self, text: str, tokenizer: Any) -> list[int]:
        """Return the tokens of a text whose class is asked for, as in training.

        Raises:
            DataError: if it could not be used there.
        """
        tokens, marks = encode(tokenizer, [text])[0], marks_of(tokenizer)
        if reason := self._unusable(text, tokens, marks):
            raise DataError(f"the text {text[:40]!r} has no class: {reason}")
        return self._row(tokens, marks)

    def _room(self, marks: Marks) -> int:
        """Return how many tokens a text may have between the tokenizer's marks."""
        return self.max_tokens - len(marks[0]) - len(marks[1])

    def _row(self, tokens: Tokens, marks: Marks) -> list[int]:
        excess = max(0, len(tokens.ids) - self._room(marks))
        kept = tokens.ids[excess:] if self.truncate == "start" else tokens.ids[: len(tokens.ids) - excess]
        return [*marks[0], *kept, *marks[1]]

    def _unusable(self, text: str, tokens: Tokens, marks: Marks) -> str:
        """Return why a text cannot be used; "" if it can."""
        if not text.strip():
            return "its text is empty"
        if not tokens.ids:
            return "its text has no token"
        if self._room(marks) < 1:
            return f"max_tokens = {self.max_tokens} leaves no room beside the tokenizer's marks"
        if self.truncate == "drop" and len(tokens.ids) > self._room(marks):
            return f"its text of {len(tokens.ids)} tokens does not fit into max_tokens = {self.max_tokens}"
        return ""

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return float32 scores [B, C] of the classes; a model that bears no padding sees one text at a time."""
        parts = one_by_one(batch) if padding_of(model) == "none" else [batch]
        found = [model(input_ids=part.input_ids_BL, attention_mask=part.attention_mask_BL).logits.float() for part in parts]
        scores: Tensor = found[0] if len(found) == 1 else torch.cat(found)
        return scores

    def loss(self, model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, int]:
        """Return the float32 sum of -log p(class | text) over the texts, and their number."""
        assert batch.labels_B is not None
        return F.cross_entropy(self.logits(model, batch), batch.labels_B, reduction="sum"), len(batch.labels_B)

    def batch(self, worker: Bench, shard: Shard, rows: Sequence[int]) -> Batch:
        """Return the texts numbered `rows` as one padded batch."""
        return token_batch(worker, shard, rows)

    def objectives(self, worker: Bench) -> list[Objective]:
        """Return the one loss that there is."""
        return [text_objective(self, worker)]

    def losses(self, worker: Bench, shard: Shard, how: Pass) -> Losses:
        """Return the sums of the loss over all texts of `shard`, and the likeliest class of each."""

        def of_rows(rows: Sequence[int]) -> tuple[float, int, Tensor]:
            scores_BC, label_B = self.scores(worker.model, seen_batch(worker, shard, rows), worker.logits_at)
            return F.cross_entropy(scores_BC, label_B, reduction="sum").item(), len(rows), scores_BC

        return how.sums(shard, of_rows, batch_size=worker.evaluation.batch_size)

    def measure(self, worker: Bench, shard: Shard, how: Pass) -> Measured:
        """Return the loss, and the metrics of the likeliest classes with the counts of those that are no means and were asked for."""
        if how.texts_alone:
            return Measured(figures={}, losses=how.known)
        losses = how.known or self.losses(worker, shard, how)
        names = [str(name) for name in self.labels or ()] or [str(number) for number in range(losses.classes)]
        return class_figures(self, names, worker.evaluation, shard, losses)

    def scores(self, model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, Tensor]:
        """Return float32 scores [B, C] of the classes, and the numbers of the right ones [B]."""
        assert batch.labels_B is not None
        return self.logits(model, batch), batch.labels_B


def class_figures(task: Task, names: Sequence[str], evaluation: Evaluation, shard: Shard, losses: Losses) -> Measured:
    """Return what follows from the sums of the loss over `shard` and the likeliest class of each row; `names` are those of the classes."""
    labels_N = tokens_of(shard).labels_N
    assert labels_N is not None
    labels, predicted = labels_N.tolist(), [losses.predicted[row] for row in range(len(shard))]
    counts = class_counts(predicted, labels, losses.classes)
    figures: dict[str, float] = {"loss": losses.total / losses.counted, "examples": len(shard)}
    figures |= {name: metric.of_classes(counts) for name, metric in METRICS.items() if metric.of_classes is not None}
    answers, right = [names[said] for said in predicted], [[names[label]] for label in labels]
    own = {metric.name: own_score(metric, answers, right) for metric in evaluation.own_metrics}
    counted = [name for name in metrics_of(task, evaluation) if name in figures and is_counted(name, evaluation)]
    return Measured(figures=figures | own, counts={f"{name}{OF_COUNTS}": counts for name in counted}, losses=losses)
