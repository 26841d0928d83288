"""The task of naming the class of a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
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
from ..records import Example, Numeral
from ..text_files import expanded, read_json, read_text
from .evaluation import Measured, Pass, is_counted, metrics_of
from .losses import Losses, sum_losses
from .shard import Batch, Shard, TokenShard, one_by_one, tokens_of
from .task import Bench, LogitsAt, Objective, padding_of
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

        return sum_losses(
            shard,
            of_rows,
            batch_size=worker.evaluation.batch_size,
            progress=how.progress,
            sampled=how.sampled,
            sample_alone=how.sample_alone,
        )

    def measure(self, worker: Bench, shard: Shard, how: Pass) -> Measured:
        """Return the loss, and the metrics of the likeliest classes with the counts of those that are no means and were asked for."""
        if how.texts_alone:
            return Measured(figures={}, losses=how.known)
        evaluation = worker.evaluation
        losses, labels_N = how.known or self.losses(worker, shard, how), tokens_of(shard).labels_N
        assert labels_N is not None
        labels, predicted = labels_N.tolist(), [losses.predicted[row] for row in range(len(shard))]
        counts = class_counts(predicted, labels, losses.classes)
        figures: dict[str, float] = {"loss": losses.total / losses.counted, "examples": len(shard)}
        figures |= {name: metric.of_classes(counts) for name, metric in METRICS.items() if metric.of_classes is not None}
        names = [str(name) for name in self.labels or ()] or [str(number) for number in range(losses.classes)]
        answers, right = [names[said] for said in predicted], [[names[label]] for label in labels]
        own = {metric.name: own_score(metric, answers, right) for metric in evaluation.own_metrics}
        counted = [name for name in metrics_of(self, evaluation) if name in figures and is_counted(name, evaluation)]
        return Measured(figures=figures | own, counts={f"{name}{OF_COUNTS}": counts for name in counted}, losses=losses)

    def scores(self, model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, Tensor]:
        """Return float32 scores [B, C] of the classes, and the numbers of the right ones [B]."""
        assert batch.labels_B is not None
        return self.logits(model, batch), batch.labels_B


def class_number(example: Example, numbers: Mapping[str, int]) -> int:
    """Return the number of an example's class; see `class_numbers`."""
    return class_numbers([example], list(numbers))[0]


def class_numbers(examples: Sequence[Example], labels: Sequence[str]) -> list[int]:
    """Return the number of each example's class.

    A label is the text of a listed name. A whole number that is no name, of a source with types, is the place in the list, from 0, where no
    name is a number; a text never is, whatever its digits.

    Raises:
        DataError: if labels are not known, with their number, the first five, and what was expected.
    """
    places = {name: number for number, name in enumerate(labels)}
    counted = not any(map(is_whole, labels))
    found: list[int] = []
    strange: list[Example] = []
    for example in examples:
        text = label_text(example.fields.get("label"))
        if text is not None and text in places:
            found.append(places[text])
        elif counted and isinstance(text, Numeral) and 0 <= int(text) < len(labels):
            found.append(int(text))
        else:
            strange.append(example)
    if strange:
        raise DataError(_unknown_labels(strange, len(examples), labels))
    return found


def _unknown_labels(strange: Sequence[Example], of: int, labels: Sequence[str]) -> str:
    some = ", ".join(
        f"example {e.id}{f' ({e.place})' if e.place else ''} has the label {_shown(e.fields.get('label'))}" for e in strange[:5]
    )
    known = ", ".join(list(labels)[:5]) + (", ..." if len(labels) > 5 else "")
    return (
        f"{len(strange):,} of {of:,} labels are not known: {some}{', ...' if len(strange) > 5 else ''}; the task knows {len(labels)} labels, "
        f"numbered 0 to {len(labels) - 1}: {known}. A label is the text of a name, letter by letter; where the data have numbers for these names, "
        "they must be whole numbers of a file with types (Parquet, JSON). Correct the data, or name all labels in task.labels: where it is left out, "
        "they are those of the training and validation data, never of the test set"
    )


def label_text(label: object) -> str | None:
    """Return a label as text, and a Numeral if it is a whole number; None if it is no label."""
    if isinstance(label, bool):
        return None
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, Integral):
        return Numeral(int(label))
    return label if isinstance(label, str) and label else None


def _shown(label: object) -> str:
    text = repr(label)
    return text if len(text) <= 60 else text[:57] + "..."


def found_labels(examples: Sequence[Example]) -> tuple[str, ...]:
    """Return the labels that occur: numbers in their order, else names in the order of the alphabet.

    Raises:
        DataError: if a label is missing or no label, if two differ by white space around them alone, or there are fewer than two.
    """
    seen: set[str] = set()
    for example in examples:
        text = label_text(example.fields.get("label"))
        if text is None:
            raise DataError(
                f"example {example.id} has the label {example.fields.get('label')!r}; a label is a name or a whole number. Correct the data or data.columns"
            )
        seen.add(str(text))
    if len(seen) < 2:
        raise DataError(
            f"the data have {len(seen)} distinct labels, a classification needs two; is data.columns.label the right column?"
        )
    spaced = sorted(name for name in seen if name != name.strip() and name.strip() in seen)
    if spaced:
        raise DataError(
            f"the labels {spaced[0]!r} and {spaced[0].strip()!r} differ by white space alone; make them one in the data, or list both in task.labels"
        )
    return tuple(sorted(sorted(seen), key=int)) if all(map(is_whole, seen)) else tuple(sorted(seen))


def is_whole(name: str) -> bool:
    """Tell whether a label is a whole number, written out; ² is a digit, but no number."""
    return name.removeprefix("-").isdecimal()


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the names in a JSON list, or in a text file with one a line.

    Raises:
        SettingError: if the file cannot be read or does not hold at least two distinct names.
    """
    want = "task.labels names a file that holds a JSON list of names, or one name a line"
    text = read_text(path, "the file of task.labels", tip="it holds a JSON list of names, or one name a line")
    names = read_json(text, str(path)) if path.suffix == ".json" else text.split("\n")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SettingError(f"{want}; {path} holds something else")
    found = tuple(name.strip() for name in names if name.strip())
    if len(found) < 2 or len(set(found)) < len(found):
        raise SettingError(f"{want}, at least two and all distinct; {path} has {len(found)} ({len(set(found))} distinct)")
    return found
