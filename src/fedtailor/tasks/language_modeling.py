"""The task of continuing text: lines are joined and cut into blocks, and every token counts once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import SettingError
from ..limits import Length
from ..records import Example
from .evaluation import Measured, Pass
from .losses import Losses
from .shard import Batch, Shard, TokenShard
from .task import Bench, LogitsAt, Objective
from .text.causal import causal_loss, causal_scores
from .text.markers import Span, markers_of
from .text.measure import measure_tokens, text_objective, token_batch, token_losses
from .text.tokenization import encode, flat, leading_marks, mask_from, text_of

LINES_AT_A_TIME = 256  # encoded as one text: enough that borders do not matter, few enough that memory stays small


@dataclass(frozen=True, kw_only=True)
class LanguageModeling:
    """Plain text in packed blocks.

    A block repeats the last tokens of the one before as context, block - stride of them; those are not counted again. So every
    token of a data set is counted once, but for the very first, which has nothing before it unless the tokenizer marks the
    beginning of a text.
    """

    kind: Literal["language-modeling"] = "language-modeling"
    block: Length = 256  # tokens in one sequence
    stride: Length | None = None  # tokens from one block to the next, at most block - 1, which is what None stands for
    join: str = "\n"  # what ends each line (row) of the data

    required: ClassVar[tuple[str, ...]] = ("text",)
    may_be_empty: ClassVar[tuple[str, ...]] = ("text",)
    context: ClassVar[tuple[str, ...]] = ()
    running: ClassVar[bool] = True
    optional: ClassVar[tuple[str, ...]] = ()
    backbone: ClassVar[str] = "causal"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "perplexity_word")
    default_metrics: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "perplexity_word")
    figures: ClassVar[tuple[str, ...]] = (*metrics, "examples", "tokens", "words")

    def __post_init__(self) -> None:
        if isinstance(self.block, bool) or not isinstance(self.block, int) or self.block < 2:
            raise SettingError(f"block is a whole number of tokens, at least 2; got {self.block!r}")
        if self.stride is not None and (
            isinstance(self.stride, bool) or not isinstance(self.stride, int) or not 1 <= self.stride < self.block
        ):
            raise SettingError(f"stride is a whole number of tokens from 1 to block - 1 = {self.block - 1}; got {self.stride!r}")
        if not isinstance(self.join, str):
            raise SettingError(f"join is the text that ends each line, such as a line break; got {self.join!r}")

    @property
    def word_rule(self) -> str:
        """How words are counted for the perplexity per word."""
        return "words parted by white space" + (", and one for each line's end" if self.join else "")

    def resolve(self, examples: Sequence[Example], base: Path) -> Self:
        """Return the task itself: it takes nothing from the data."""
        return self

    def labels_of(self, examples: Sequence[Example], base: Path = Path()) -> tuple[str, ...]:
        """Return no labels: there are no classes."""
        return ()

    def prepare(self, examples: Sequence[Example], tokenizer: Any, *, keep_examples: bool) -> TokenShard:
        """Return the lines in blocks. A block is no single example, so the shard never holds the examples themselves.

        Raises:
            DataError: if an example has no text column.
            BackboneError: if the tokenizer has no offsets.
        """
        marks = leading_marks(tokenizer)
        ids, words, marked = self._stream([text_of(example, "text") for example in examples], tokenizer)
        ids, words = np.concatenate([np.array(marks, dtype=np.int64), ids]), np.concatenate([np.zeros(len(marks)), words])
        rows, firsts, counts = [], [], []
        for begin, first, end in windows(len(ids), self.block, self.stride or self.block - 1):
            rows.append(ids[begin:end].tolist())
            firsts.append(first - begin)
            counts.append(int(words[(0 if begin == 0 else first) : end].sum()))
        tokens_T, starts = flat(rows)
        dropped = [(example.id, "its text is too short to predict anything") for example in examples] if not rows else []
        return TokenShard(
            tokens_T=tokens_T,
            target_T=mask_from(firsts, starts),
            starts=starts,
            words_N=torch.tensor(counts, dtype=torch.int64),
            dropped=tuple(dropped),
            marked=marked,
        )

    def opening(self, text: str, tokenizer: Any) -> list[int]:
        """Return the tokens of a text that the model is to continue: as a stream begins in training, without a mark behind it."""
        return [*leading_marks(tokenizer), *encode(tokenizer, [text])[0].ids]

    def loss(self, model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, int]:
        """Return the float32 sum of the loss over the tokens that are counted in these blocks, and their number."""
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
        """Return loss and perplexities."""
        return measure_tokens(self, worker, shard, how)

    def scores(self, model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, Tensor]:
        """Return float32 logits [N, V] over the next token at the counted targets, and these [N]."""
        return causal_scores(model, batch, logits_at)

    def _stream(self, lines: Sequence[str], tokenizer: Any) -> tuple[np.ndarray, np.ndarray, int]:
        """Return all tokens one after the other, how many words (and line ends) end within each, and how many lines hold markers."""
        chunks = [lines[begin : begin + LINES_AT_A_TIME] for begin in range(0, len(lines), LINES_AT_A_TIME)]
        texts = ["".join(line + self.join for line in chunk) for chunk in chunks]
        data = [self._line_spans(chunk) for chunk in chunks]
        ids, words, marked = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)], 0
        for chunk, tokens in zip(chunks, encode(tokenizer, texts, data), strict=True):
            if not tokens.ids:
                continue
            last_N = np.maximum.accumulate(np.array([end for _, end in tokens.spans]))
            last_N[-1] = max(last_N[-1], sum(len(line) + len(self.join) for line in chunk))
            ends = np.array(self._word_ends(chunk), dtype=np.int64)
            ids.append(np.array(tokens.ids, dtype=np.int64))
            words.append(np.diff(np.searchsorted(ends, last_N, side="right"), prepend=0))
            marked += sum(bool(markers_of(tokenizer).pattern.search(line)) for line in chunk) if tokens.marked else 0
        return np.concatenate(ids), np.concatenate(words), marked

    def _line_spans(self, lines: Sequence[str]) -> list[Span]:
        """Return where the lines stand in the joined text; what joins them is the job's, and may be a special token."""
        begins = accumulate((len(line) + len(self.join) for line in lines), initial=0)
        return [(begin, begin + len(line)) for begin, line in zip(begins, lines, strict=False)]

    def _word_ends(self, lines: Sequence[str]) -> list[int]:
        """Return the place behind each word and each line end, in rising order, in the joined text."""
        ends, begin = [], 0
        for line in lines:
            place = 0
            for word in line.split():
                place = line.index(word, place) + len(word)
                ends.append(begin + place)
            begin += len(line) + len(self.join)
            if self.join:
                ends.append(begin)
        return ends


def windows(tokens: int, block: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Yield (begin, first counted token, end) of each block over a stream of so many tokens; counted ones never overlap.

    Args:
        stride: how far one block begins behind the one before, 1 to block - 1.
    """
    begin, first = 0, 1
    while first < tokens:
        end = min(begin + block, tokens)
        yield begin, first, end
        begin, first = begin + stride, end
