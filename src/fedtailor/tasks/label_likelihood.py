"""The task of naming the class of a text by the likelihood of the labels' own words, which a language model gives behind a prompt.

Source: Zhao et al., 2021, arXiv:2102.09690, and Holtzman et al., 2021, arXiv:2104.08315, for the calibration; see `prompting.score`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch

from ..errors import DataError, SettingError
from ..limits import Length
from ..pairs import Need
from ..records import Example
from ..text_files import expanded
from .classification import class_figures
from .evaluation import Measured, Pass
from .labels import class_numbers, found_labels, read_labels
from .losses import Losses
from .shard import Shard, TokenShard, tokens_of
from .task import Bench, Objective
from .text.markers import Tokens
from .text.tokenization import encode, flat, text_of


@dataclass(frozen=True, kw_only=True)
class LabelLikelihood:
    """Text to one of several classes, by a language model without a head: the label whose words are the likeliest behind a prompt."""

    needs: ClassVar[Sequence[Need]] = (Need(word="prompts", remedy="choose protocol: prompting, or task: classification"),)
    kind: Literal["label-likelihood"] = "label-likelihood"
    labels: Sequence[str] | str | None = None  # names in the order of their numbers; or a JSON or text file; None: from the data
    max_tokens: Length = 128  # of a text; a longer one loses its end
    scored_by: Literal["backbone", "endpoint"] = (
        "backbone"  # endpoint: the language model that each machine's owner names, by likelihoods or by what it writes
    )
    calibrate: bool = True  # from each label's likelihood is taken what it has behind texts that say nothing

    truncate: ClassVar[str] = "end"  # which end of a longer text is left out
    required: ClassVar[tuple[str, ...]] = ("text", "label")
    optional: ClassVar[tuple[str, ...]] = ()
    context: ClassVar[tuple[str, ...]] = ()
    backbone: ClassVar[str] = "causal"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "macro_f1")
    default_metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "macro_f1")
    figures: ClassVar[tuple[str, ...]] = (*metrics, "examples")

    def __post_init__(self) -> None:
        if isinstance(self.max_tokens, bool) or not isinstance(self.max_tokens, int) or self.max_tokens < 1:
            raise SettingError(f"max_tokens is a whole number of tokens, at least 1; got {self.max_tokens!r}")
        if self.scored_by not in ("backbone", "endpoint"):
            raise SettingError(f"scored_by is backbone or endpoint; got {self.scored_by!r}")
        if self.labels is None or isinstance(self.labels, str):
            return
        names = tuple(str(name) for name in self.labels)
        if len(names) < 2 or len(set(names)) < len(names):
            raise SettingError(f"labels are at least two distinct names, or the path of a file of names; got {self.labels!r}")
        object.__setattr__(self, "labels", names)
        _check_words(self.words)

    @property
    def words(self) -> tuple[str, ...]:
        """The words that stand for each label: its name, with blanks for underscores.

        Raises:
            SettingError: if the labels are not known yet; see `resolve`.
        """
        if self.labels is None or isinstance(self.labels, str):
            raise SettingError("labels are not known before the data are read; call LabelLikelihood.resolve first")
        return tuple(" ".join(name.replace("_", " ").split()) for name in self.labels)

    def resolve(self, examples: Sequence[Example], base: Path) -> Self:
        """Return the task with its labels written out; see `Classification.resolve`."""
        return replace(self, labels=self.labels_of(examples, base))

    def labels_of(self, examples: Sequence[Example], base: Path = Path()) -> tuple[str, ...]:
        """Return the names of the classes in the order of their numbers."""
        if isinstance(self.labels, str):
            return read_labels(expanded(base, self.labels, "task.labels"))
        return tuple(self.labels) if self.labels is not None else found_labels(examples)

    def prepare(self, examples: Sequence[Example], tokenizer: Any, *, keep_examples: bool) -> TokenShard:
        """Return the numbers of the examples' classes and the texts themselves, which are always kept: a prompt is put around them.

        Raises:
            DataError: if a label is none of the known ones, or a column is missing.
        """
        texts = [text_of(example, "text") for example in examples]
        kept: list[Example] = []
        rows, cut, dropped = [], [], []
        for example, text, tokens in zip(examples, texts, encode(tokenizer, texts), strict=True):
            if not text.strip():
                dropped.append((example.id, "its text is empty"))
                continue
            short = self._shortened(text, tokens)
            kept.append(example if short == text else replace(example, fields={**example.fields, "text": short}))
            rows.append(tokens.ids[: self.max_tokens])
            cut.append(max(0, len(tokens.ids) - self.max_tokens))
        tokens_T, starts = flat(rows)
        return TokenShard(
            tokens_T=tokens_T,
            target_T=torch.zeros(len(tokens_T), dtype=torch.bool),
            starts=starts,
            labels_N=torch.tensor(class_numbers(kept, self.labels_of(())), dtype=torch.int64),
            examples=tuple(kept),
            dropped=tuple(dropped),
            cut_N=torch.tensor(cut, dtype=torch.int64),
        )

    def shortened(self, text: str, tokenizer: Any) -> str:
        """Return a text as the prompt has it: without what is beyond `max_tokens`.

        Raises:
            DataError: if it is empty.
        """
        if not text.strip():
            raise DataError(f"the text {text[:40]!r} has no class: its text is empty")
        return self._shortened(text, encode(tokenizer, [text])[0])

    def pairs(self, shard: Shard, rows: Sequence[int]) -> list[tuple[str, str]]:
        """Return text and label words of the examples numbered `rows`."""
        labels_N, words = tokens_of(shard).labels_N, self.words
        assert labels_N is not None
        return [(text_of(shard.examples[row], "text"), words[int(labels_N[row])]) for row in rows]

    def reading(self, worker: Any, prompt: Any) -> Any:
        """Return a prompt as the worker's model has read it."""
        return worker.prompts.read(prompt, calibrate=self.calibrate)

    def answer_lengths(self, tokenizer: Any) -> list[int]:
        """Return how many tokens each label has."""
        return [len(tokenizer(f" {word}", add_special_tokens=False)["input_ids"]) for word in self.words]

    def batch(self, worker: Bench, shard: Shard, rows: Sequence[int]) -> Any:
        """Raise SettingError: nothing is trained on this task."""
        raise SettingError(
            "task: label-likelihood is for protocol: prompting, where no weight is trained; choose task: classification"
        )

    def objectives(self, worker: Bench) -> Sequence[Objective]:
        """Return nothing: the weights stay as they are."""
        return ()

    def losses(self, worker: Bench, shard: Shard, how: Pass) -> Losses:
        """Return the sums of the cross-entropy over labels, and the likeliest label of each text, behind the prompt in place."""

        def of_rows(rows: Sequence[int]) -> tuple[float, int, torch.Tensor]:
            pairs = self.pairs(shard, rows)
            scores_BC = torch.tensor(worker.label_scores([text for text, _ in pairs], self.words, calibrate=self.calibrate))
            label_B = torch.tensor([self.words.index(label) for _, label in pairs])
            return torch.nn.functional.cross_entropy(scores_BC, label_B, reduction="sum").item(), len(rows), scores_BC

        return how.sums(shard, of_rows, batch_size=worker.evaluation.batch_size)

    def measure(self, worker: Bench, shard: Shard, how: Pass) -> Measured:
        """Return the loss, and the metrics of the likeliest labels with the counts that they are made of."""
        if how.texts_alone:
            return Measured(figures={}, losses=how.known)
        return class_figures(self, self.labels_of(()), worker.evaluation, shard, how.known or self.losses(worker, shard, how))

    def _shortened(self, text: str, tokens: Tokens) -> str:
        return text if len(tokens.ids) <= self.max_tokens else text[: tokens.spans[self.max_tokens - 1][1]]


def _check_words(words: Sequence[str]) -> None:
    """Raise SettingError if a label has no word, or two have the same."""
    if empty := [word for word in words if not word]:
        raise SettingError(f"the label {empty[0]!r} has no word that a language model could write; give each class a name")
    twice = next((word for word in words if words.count(word) > 1), None)
    if twice is not None:
        raise SettingError(f"two labels are both written {twice!r}; give each class a name of its own")
