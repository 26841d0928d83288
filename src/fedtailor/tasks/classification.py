"""The task of naming the class of a text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import DataError, SettingError
from ..limits import Length
from ..records import Example
from .markers import Tokens
from .shard import Batch, Shard
from .task import LogitsAt
from .tokenization import Marks, Truncate, check_truncate, encode, flat, marks_of, text_of

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
    backbone_kind: ClassVar[Literal["causal", "classifier"]] = "classifier"
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
            return read_labels(base / self.labels)
        return tuple(self.labels) if self.labels is not None else found_labels(examples)

    def tokenize(self, examples: Sequence[Example], tokenizer: Any, *, keep_examples: bool) -> Shard:
        """Return the texts' tokens, with the tokenizer's own marks, and the numbers of their classes.

        Raises:
            DataError: if a label is none of the known ones, or a column is missing.
            SettingError: if the labels are not known yet; see `resolve`.
        """
        if self.labels is None or isinstance(self.labels, str):
            raise SettingError("labels are not known before the data are read; call Classification.resolve first")
        numbers = {name: number for number, name in enumerate(self.labels)}
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
        return Shard(
            tokens_T=tokens_T,
            target_T=torch.zeros(len(tokens_T), dtype=torch.bool),
            starts=starts,
            labels_N=torch.tensor([class_number(example, numbers) for example in kept], dtype=torch.int64),
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
        """Return float32 scores [B, C] of the classes."""
        output = model(input_ids=batch.input_ids_BL, attention_mask=batch.attention_mask_BL)
        scores: Tensor = output.logits.float()
        return scores

    def loss(self, model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, int]:
        """Return the float32 sum of -log p(class | text) over the texts, and their number."""
        assert batch.labels_B is not None
        return F.cross_entropy(self.logits(model, batch), batch.labels_B, reduction="sum"), len(batch.labels_B)

    def scores(self, model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, Tensor]:
        """Return float32 scores [B, C] of the classes, and the numbers of the right ones [B]."""
        assert batch.labels_B is not None
        return self.logits(model, batch), batch.labels_B


def class_number(example: Example, numbers: dict[str, int]) -> int:
    """Return the number of the example's class; its label is a known name, or a number within range.

    Raises:
        DataError: naming the example, the label and what was expected.
    """
    label = example.fields.get("label")
    if isinstance(label, str) and label in numbers:
        return numbers[label]
    if isinstance(label, float) and label.is_integer():
        label = int(label)  # a column with gaps is read as decimal numbers
    if isinstance(label, Integral) and not isinstance(label, bool):
        if str(label) in numbers:  # labels that are themselves numbers, such as stars from 1 to 5
            return numbers[str(label)]
        if 0 <= int(label) < len(numbers) and not all(map(is_whole, numbers)):
            return int(label)
    some = ", ".join(list(numbers)[:5]) + (", ..." if len(numbers) > 5 else "")
    raise DataError(
        f"example {example.id} has the label {label!r}; the task knows {len(numbers)} labels, "
        f"numbered 0 to {len(numbers) - 1}: {some}. Mend the data (the example is called by its file and row), or name all labels in task.labels: where it is left out, they are those "
        "of the training and validation data, never of the test set"
    )


def found_labels(examples: Sequence[Example]) -> tuple[str, ...]:
    """Return the labels that occur: numbers in their order, else names in the order of the alphabet.

    Raises:
        DataError: if a label is missing or no label, or there are fewer than two.
    """
    seen: set[str] = set()
    for example in examples:
        label = example.fields.get("label")
        if isinstance(label, float) and label.is_integer():
            label = int(label)
        if isinstance(label, bool) or not isinstance(label, str | Integral) or label == "":
            raise DataError(
                f"example {example.id} has the label {label!r}; a label is a name or a whole number. Mend the data or data.columns"
            )
        seen.add(str(label))
    if len(seen) < 2:
        raise DataError(
            f"the data have {len(seen)} distinct labels, a classification needs two; is data.columns.label the right column?"
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
    try:
        text = path.read_text(encoding="utf-8")
        names = json.loads(text) if path.suffix == ".json" else text.split("\n")
    except (OSError, ValueError) as error:
        raise SettingError(f"{want}; {path} cannot be read: {error}") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SettingError(f"{want}; {path} holds something else")
    found = tuple(name.strip() for name in names if name.strip())
    if len(found) < 2 or len(set(found)) < len(found):
        raise SettingError(f"{want}, at least two and all distinct; {path} has {len(found)} ({len(set(found))} distinct)")
    return found
