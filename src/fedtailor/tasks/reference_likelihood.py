"""The task of writing an answer behind a prompt: prompts are scored by the likelihood of the references, and measured by what is written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch

from ..errors import DataError, SettingError
from ..limits import Length
from ..metrics.answers import answer_f1, exact_match
from ..pairs import Need
from ..records import Example
from .evaluation import Measured, Pass
from .losses import Losses, sum_losses
from .shard import Shard, TokenShard
from .task import Bench, Objective
from .text.markers import Tokens
from .text.tokenization import encode, flat, text_of


@dataclass(frozen=True, kw_only=True)
class ReferenceLikelihood:
    """Input to an answer of a line, by a language model behind a prompt; the loss is that of the reference, in nats a token."""

    needs: ClassVar[Sequence[Need]] = (Need(word="prompts", remedy="choose protocol: prompting, or task: generation"),)
    kind: Literal["reference-likelihood"] = "reference-likelihood"
    max_tokens: Length = 256  # of an input; a longer one loses its end
    answer_tokens: Length = 64  # of a reference; a longer one loses its end

    truncate: ClassVar[str] = "end"
    required: ClassVar[tuple[str, ...]] = ("input", "target")
    optional: ClassVar[tuple[str, ...]] = ("references",)  # further right answers
    context: ClassVar[tuple[str, ...]] = ()
    backbone: ClassVar[str] = "causal"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "exact_match", "f1")
    default_metrics: ClassVar[tuple[str, ...]] = metrics
    figures: ClassVar[tuple[str, ...]] = (*metrics, "examples")
    words: ClassVar[tuple[str, ...]] = ()  # there are no labels
    calibrate: ClassVar[bool] = False
    scored_by: ClassVar[str] = "backbone"

    def __post_init__(self) -> None:
        for name in ("max_tokens", "answer_tokens"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingError(f"{name} is a whole number of tokens, at least 1; got {value!r}")

    def resolve(self, examples: Sequence[Example], base: Path) -> Self:
        """Return the task itself."""
        return self

    def labels_of(self, examples: Sequence[Example], base: Path = Path()) -> tuple[str, ...]:
        """Return nothing: there are no classes."""
        return ()

    def prepare(self, examples: Sequence[Example], tokenizer: Any, *, keep_examples: bool) -> TokenShard:
        """Return the texts themselves, cut to their most tokens; they are always kept, as a prompt is put around them."""
        inputs, targets = (encode(tokenizer, [text_of(one, name) for one in examples]) for name in ("input", "target"))
        kept: list[Example] = []
        rows, cut, dropped = [], [], []
        for example, given, answer in zip(examples, inputs, targets, strict=True):
            if not text_of(example, "input").strip() or not text_of(example, "target").strip():
                dropped.append((example.id, "its input or target is empty"))
                continue
            short = {
                "input": _first(text_of(example, "input"), given, self.max_tokens),
                "target": _first(text_of(example, "target"), answer, self.answer_tokens),
            }
            kept.append(replace(example, fields={**example.fields, **short}))
            rows.append(given.ids[: self.max_tokens])
            cut.append(max(0, len(given.ids) - self.max_tokens))
        tokens_T, starts = flat(rows)
        return TokenShard(
            tokens_T=tokens_T,
            target_T=torch.zeros(len(tokens_T), dtype=torch.bool),
            starts=starts,
            examples=tuple(kept),
            dropped=tuple(dropped),
            cut_N=torch.tensor(cut, dtype=torch.int64),
        )

    def shortened(self, text: str, tokenizer: Any) -> str:
        """Return an input as the prompt has it: without what is beyond `max_tokens`.

        Raises:
            DataError: if it is empty.
        """
        if not text.strip():
            raise DataError(f"there is nothing to answer in {text[:40]!r}; write a text")
        return _first(text, encode(tokenizer, [text])[0], self.max_tokens)

    def pairs(self, shard: Shard, rows: Sequence[int]) -> list[tuple[str, str]]:
        """Return input and reference of the examples numbered `rows`."""
        return [(text_of(shard.examples[row], "input"), text_of(shard.examples[row], "target")) for row in rows]

    def reading(self, worker: Any, prompt: Any) -> Any:
        """Return a prompt as the worker's model has read it."""
        return worker.prompts.references(prompt)

    def answer_lengths(self, tokenizer: Any) -> list[int]:
        """Return the tokens that an answer may have."""
        return [self.answer_tokens]

    def batch(self, worker: Bench, shard: Shard, rows: Sequence[int]) -> Any:
        """Raise SettingError: nothing is trained on this task."""
        raise SettingError(
            "task: reference-likelihood is for protocol: prompting, where no weight is trained; choose task: generation"
        )

    def objectives(self, worker: Bench) -> Sequence[Objective]:
        """Return nothing: the weights stay as they are."""
        return ()

    def losses(self, worker: Bench, shard: Shard, how: Pass) -> Losses:
        """Return the sums over examples of the reference's negative log-likelihood a token, behind the prompt in place."""

        def of_rows(rows: Sequence[int]) -> tuple[float, int, None]:
            return (
                worker.behind_prompt().score(self.pairs(shard, rows), batch=worker.evaluation.batch_size).loss_sum,
                len(rows),
                None,
            )

        return sum_losses(
            shard,
            of_rows,
            batch_size=worker.evaluation.batch_size,
            progress=how.progress,
            sampled=how.sampled,
            sample_alone=how.sample_alone,
        )

    def measure(self, worker: Bench, shard: Shard, how: Pass) -> Measured:
        """Return the loss, and exact match and F1 of the line that is written behind the prompt in place."""
        if how.texts_alone:
            return Measured(figures={}, losses=how.known)
        losses = how.known or self.losses(worker, shard, how)
        sums = {"exact_match": 0.0, "f1": 0.0}
        for example, said in zip(shard.examples, worker.answers([text_of(one, "input") for one in shard.examples]), strict=True):
            more = example.fields.get("references")
            right = [text_of(example, "target"), *(map(str, more) if isinstance(more, list | tuple) else ())]
            sums["exact_match"] += exact_match(said, right)
            sums["f1"] += answer_f1(said, right)
        figures = {"loss": losses.total / losses.counted, "examples": len(shard)}
        return Measured(figures=figures | {name: total / len(shard) for name, total in sums.items()}, losses=losses)


def _first(text: str, tokens: Tokens, most: int) -> str:
    return text if len(tokens.ids) <= most else text[: tokens.spans[most - 1][1]]
