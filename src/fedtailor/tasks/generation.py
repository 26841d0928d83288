"""The task of writing a target text for an input text; the loss counts the target alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from ..clock import parse_moment
from ..errors import DataError, SettingError
from ..limits import Length
from ..records import TOOLS, Example
from .evaluation import Measured, Pass
from .losses import Losses
from .shard import Batch, Shard, TokenShard
from .task import Bench, LogitsAt, Objective
from .text.causal import causal_loss, causal_scores
from .text.chat import Written, turn_end, write
from .text.markers import Markers, Tokens, markers_of, templates_in
from .text.measure import measure_tokens, text_objective, token_batch, token_losses, with_texts
from .text.talk import needs_chat, talk_of
from .text.template import check_template, fill, names_in
from .text.tokenization import (
    Prompt,
    Truncate,
    check_truncate,
    encode_prompts,
    encode_targets,
    end_token,
    flat,
    leading_marks,
    mask_from,
    shortened,
    text_of,
)

MOST_CHARACTERS = 32  # of a template for each token of an example; a token of text stands for about four


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Input to target, phrased by a template of the user's or by the model's own chat template."""

    kind: Literal["generation"] = "generation"
    template: str = "{input}\n{target}"  # any column of the data may stand in braces; {target} comes last
    chat: bool = (
        False  # True: the model's chat template, with the roles of `messages` or the input as the user's turn; not `template`
    )
    max_tokens: Length = 512  # of prompt, target and end token together
    truncate: Truncate = "start"  # which end of a longer input is left out; drop: the whole example is
    clock: str | None = (
        None  # what a chat template writes as now, such as 2026-11-28T09:30:00; None: midnight of the day the run starts
    )

    required: ClassVar[tuple[str, ...]] = ("input", "target")
    optional: ClassVar[tuple[str, ...]] = ("references",)
    backbone: ClassVar[str] = "causal"
    metrics: ClassVar[tuple[str, ...]] = (
        "loss", "perplexity", "perplexity_word", "bleu", "chrf", "rouge1", "rouge2", "rougeL", "f1", "exact_match",
    )  # fmt: skip
    default_metrics: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "bleu", "rougeL")
    figures: ClassVar[tuple[str, ...]] = (*metrics, "examples", "tokens", "words", "texts")
    word_rule: ClassVar[str] = "words of the target parted by white space, and one for its end"

    @property
    def context(self) -> tuple[str, ...]:
        """The columns that the template names beside input and target; each may be empty."""
        return () if self.chat else tuple(dict.fromkeys(name for name in names_in(self.template) if name not in self.required))

    @property
    def may_be_empty(self) -> tuple[str, ...]:
        """The input may be empty where the template has other columns, of which one then says something."""
        return ("input",) if self.context else ()

    @property
    def extra(self) -> tuple[str, ...]:
        """The columns that a chat is made of, where the data have them; tools that a conversation may call are refused without a chat template."""
        return ("messages", *TOOLS) if self.chat else TOOLS

    def __post_init__(self) -> None:
        if not isinstance(self.chat, bool):
            raise SettingError(f"chat is true or false; got {self.chat!r}")
        if isinstance(self.max_tokens, bool) or not isinstance(self.max_tokens, int) or self.max_tokens < 2:
            raise SettingError(f"max_tokens is a whole number of tokens, at least 2; got {self.max_tokens!r}")
        check_truncate(self.truncate)
        if self.clock is not None:
            parse_moment(self.clock)
        check_template(self.template)
        if len(self.template) > MOST_CHARACTERS * self.max_tokens:
            raise SettingError(
                f"template has {len(self.template):,} characters, more than {MOST_CHARACTERS} for each of max_tokens: {self.max_tokens}, so no example would "
                "fit behind it; shorten it, or raise max_tokens"
            )

    def resolve(self, examples: Sequence[Example], base: Path) -> Self:
        """Return the task itself: it takes nothing from the data."""
        return self

    def labels_of(self, examples: Sequence[Example], base: Path = Path()) -> tuple[str, ...]:
        """Return no labels: there are no classes."""
        return ()

    def prepare(self, examples: Sequence[Example], tokenizer: Any, *, keep_examples: bool) -> TokenShard:
        """Return prompt, target and end token of each example; the target and its end token are counted.

        A prompt that is too long loses one end of its input, a conversation what was said first (or last); the template's own words,
        what the system says and the target stay whole. Markers in the data are text.

        Args:
            keep_examples: whether the shard holds the examples themselves, as evaluation needs them.

        Raises:
            DataError: if the template names a column that an example does not have, or a chat template refuses an example.
            BackboneError: if the tokenizer has no offsets, no end token, or no chat template where one is asked for.
        """
        end = end_token(tokenizer)
        usable = [example for example in examples if text_of(example, "target").strip()]
        dropped = {example.id: "its target is empty" for example in examples if not text_of(example, "target").strip()}
        written = [self.written(example, tokenizer) for example in usable]
        heads = self._heads([one.prompt for one in written], tokenizer)
        tails = encode_targets(
            tokenizer, [one.prompt for one in written], heads, [one.answer for one in written], self._markers(tokenizer)
        )
        rows, first_targets, kept, cut, marked = [], [], [], [], 0
        for example, one, head, tail in zip(usable, written, heads, tails, strict=True):
            marks = self._marks(head, tokenizer)
            ids = shortened(head, one.prompt.input, self.max_tokens - len(marks) - len(tail.ids) - 1, self.truncate)
            if ids is None or not tail.ids:
                dropped[example.id] = self._reason(tail) if tail.ids else "its target has no token"
                continue
            start = [*marks, *ids] or [end]  # the first target needs something before it
            rows.append([*start, *tail.ids, end if one.end is None else one.end])
            first_targets.append(len(start))
            kept.append(example)
            cut.append(len(head.ids) - len(ids))
            marked += tail.marked or head.marked
        tokens_T, starts = flat(rows)
        return TokenShard(
            tokens_T=tokens_T,
            target_T=mask_from(first_targets, starts),
            starts=starts,
            words_N=torch.tensor([len(text_of(example, "target").split()) + 1 for example in kept], dtype=torch.int64),
            examples=tuple(kept) if keep_examples else (),
            dropped=tuple((example.id, dropped[example.id]) for example in examples if example.id in dropped),
            cut_N=torch.tensor(cut, dtype=torch.int64),
            marked=marked,
        )

    def prompts(self, examples: Sequence[Example], tokenizer: Any) -> list[list[int]]:
        """Return the tokens before each target, the same as in training, for the model to continue."""
        prompts = [self.written(example, tokenizer).prompt for example in examples]
        rows = []
        for prompt, head in zip(prompts, self._heads(prompts, tokenizer), strict=True):
            marks = self._marks(head, tokenizer)
            ids = shortened(head, prompt.input, self.max_tokens - len(marks) - 1, self.truncate)
            rows.append([*marks, *(head.ids[-self.max_tokens :] if ids is None else ids)] or [end_token(tokenizer)])
        return rows

    def ends(self, tokenizer: Any) -> list[int]:
        """Return the tokens that end a written text: the tokenizer's, and the one by which the chat template ends a turn."""
        end = turn_end(tokenizer, self._moment) if self.chat else None
        return sorted({end_token(tokenizer), *([] if end is None else [end])})

    def written(self, example: Example, tokenizer: Any) -> Written:
        """Return the text before the target of `example`, the target, and the token that ends it if it is not the tokenizer's.

        Raises:
            DataError: if it has tools, calls or thoughts, and there is no chat template to write them.
        """
        if self.chat:
            return write(talk_of(example), tokenizer, self._moment)
        if needs_chat(example):
            raise DataError(
                f"example {example.id} has tools, tool calls or reasoning, which only a chat template can write; set task.chat: true, or take them "
                "out of the data"
            )
        return Written(prompt=fill(self.template, example), answer=Prompt(text=text_of(example, "target"), input=()), end=None)

    @property
    def _moment(self) -> datetime | None:
        return None if self.clock is None else parse_moment(self.clock)

    def _markers(self, tokenizer: Any) -> Markers:
        return markers_of(tokenizer, templates_in(tokenizer) if self.chat else "")

    def _marks(self, head: Tokens, tokenizer: Any) -> list[int]:
        """Return the marks that the tokenizer puts before a text, where the template has not written them itself."""
        marks = [] if self.chat else leading_marks(tokenizer)
        return [] if list(head.ids[: len(marks)]) == marks else marks

    def _heads(self, prompts: Sequence[Prompt], tokenizer: Any) -> list[Tokens]:
        """Return the tokens of each prompt; prompts that repeat are encoded once."""
        distinct = {(prompt.text, tuple(prompt.data or ())): prompt for prompt in prompts}
        encoded = encode_prompts(tokenizer, list(distinct.values()), self._markers(tokenizer))
        found = dict(zip(distinct, encoded, strict=True))
        return [found[prompt.text, tuple(prompt.data or ())] for prompt in prompts]

    def _reason(self, tail: Tokens) -> str:
        rest = f"target of {len(tail.ids)} tokens, the end token and the template do not fit into max_tokens = {self.max_tokens}"
        return f"with its input, its {rest}" if self.truncate == "drop" else f"its {rest}"

    def loss(self, model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, int]:
        """Return the float32 sum of the loss over the targets' tokens, and their number."""
        return causal_loss(model, batch, logits_at)

    def batch(self, worker: Bench, shard: Shard, rows: Sequence[int]) -> Batch:
        """Return the texts numbered `rows` as one padded batch."""
        return token_batch(worker, shard, rows)

    def objectives(self, worker: Bench) -> list[Objective]:
        """Return the one loss that there is."""
        return [text_objective(self, worker)]

    def losses(self, worker: Bench, shard: Shard, how: Pass) -> Losses:
        """Return the sums of the loss over all counted tokens of `shard`."""
        return token_losses(self, worker, shard, how)

    def measure(self, worker: Bench, shard: Shard, how: Pass) -> Measured:
        """Return loss and perplexities, and the metrics of the texts that the model writes."""
        found = measure_tokens(self, worker, shard, how)
        return with_texts(found, self, worker, shard, how)

    def scores(self, model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, Tensor]:
        """Return float32 logits [N, V] over the next token at the counted targets, and these [N]."""
        return causal_scores(model, batch, logits_at)
