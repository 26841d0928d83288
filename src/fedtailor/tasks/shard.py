"""Tokenized examples in flat arrays, and the batches made of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..errors import SettingError
from ..records import Example

# N examples, T tokens of all examples together, B sequences of a batch, L tokens of the longest of them

Padding: TypeAlias = Literal["right", "left", "none"]
"""Where a model bears padding; none: nowhere, so that each sequence goes through it on its own."""


class Shard(Protocol):
    """Some examples, made ready once for a model: a task's `prepare` makes it, and its `batch` reads it."""

    @property
    def examples(self) -> Sequence[Example]:
        """The examples themselves, in the same order, if they were kept, as evaluation sets need them."""

    @property
    def dropped(self) -> Sequence[tuple[str, str]]:
        """Id and reason of each example that could not be used."""

    @property
    def sizes_N(self) -> Tensor:
        """How much work each example is, int64: its tokens. Those of like size share a batch."""

    @property
    def labels_N(self) -> Tensor | None:
        """The numbers of the examples' classes, int64; None where there are none."""

    def __len__(self) -> int:
        """Return how many examples can be used."""

    def select(self, rows: Sequence[int]) -> Self:
        """Return the examples numbered `rows`, in that order; the examples themselves and those that were dropped are left behind."""


@dataclass(frozen=True, kw_only=True)
class TokenShard:
    """Some texts, tokenized once: all tokens in one array, and where each text starts in it."""

    tokens_T: Tensor  # int32
    target_T: Tensor  # bool: tokens that the loss counts; all False for classification
    starts: Tensor  # int64, N + 1 offsets into tokens_T
    labels_N: Tensor | None = None  # int64 class numbers, for classification
    words_N: Tensor | None = None  # int64, words of each target, for perplexity per word
    examples: Sequence[Example] = ()  # of evaluation sets: what was tokenized, in the same order
    dropped: Sequence[tuple[str, str]] = field(default=())  # id and reason of each example that could not be used
    cut_N: Tensor | None = None  # int64, tokens of each example that were left out as it was too long
    marked: int = 0  # examples in whose data markers are text that would else be special tokens

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def sizes_N(self) -> Tensor:
        """The tokens of each text, int64."""
        return self.starts[1:] - self.starts[:-1]

    def select(self, rows: Sequence[int]) -> "TokenShard":
        """Return the texts numbered `rows`, in that order; the examples themselves and those that were dropped are left behind."""
        rows_N = torch.as_tensor(rows, dtype=torch.int64)
        sizes_N = self.sizes_N[rows_N]
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), sizes_N.cumsum(0)])
        source_T = torch.arange(int(starts[-1])) + torch.repeat_interleave(self.starts[rows_N] - starts[:-1], sizes_N)
        return TokenShard(
            tokens_T=self.tokens_T[source_T],
            target_T=self.target_T[source_T],
            starts=starts,
            labels_N=None if self.labels_N is None else self.labels_N[rows_N],
            words_N=None if self.words_N is None else self.words_N[rows_N],
        )


def tokens_of(shard: Shard) -> TokenShard:
    """Return a shard as one of tokens.

    Raises:
        SettingError: if it is none, so that what is asked of it has no meaning.
    """
    if not isinstance(shard, TokenShard):
        raise SettingError(
            f"a {type(shard).__name__} holds no tokens, which this part of the job works on; choose a task of texts"
        )
    return shard


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some sequences, padded to the longest of them: on the right, or on the left for models that bear it there alone."""

    input_ids_BL: Tensor  # int64
    attention_mask_BL: Tensor | None  # int64; None where nothing is padding
    target_BL: Tensor  # bool: the token at this position is counted by the loss
    labels_B: Tensor | None  # int64, for classification
    tokens: int  # without padding


def collate(shard: TokenShard, rows: Sequence[int], pad_id: int, device: torch.device, padding: Padding = "right") -> Batch:
    """Return the examples numbered `rows` as one padded batch on `device`; for models that bear no padding, see `one_by_one`."""
    rows_B = torch.as_tensor(rows)
    begins_B = shard.starts[rows_B]
    lengths_B = shard.starts[rows_B + 1] - begins_B
    longest = int(lengths_B.max())
    places_BL = torch.arange(longest).expand(len(rows_B), -1)  # of the sequence, from 0 at its first token
    if padding == "left":
        places_BL = places_BL - (longest - lengths_B)[:, None]
    real_BL = (places_BL >= 0) & (places_BL < lengths_B[:, None])  # the others are padding
    source_BL = torch.where(real_BL, begins_B[:, None] + places_BL, 0)
    ids_BL = torch.where(real_BL, shard.tokens_T[source_BL].long(), pad_id)
    target_BL = shard.target_T[source_BL] & real_BL
    return Batch(
        input_ids_BL=ids_BL.to(device),
        attention_mask_BL=None if bool(real_BL.all()) else real_BL.long().to(device),
        target_BL=target_BL.to(device),
        labels_B=None if shard.labels_N is None else shard.labels_N[rows_B].to(device),
        tokens=int(lengths_B.sum()),
    )


def inputs_of(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return tokens int64, mask int64 and where the input is, bool, each [B, L]: what stands before the first target, at least one token."""
    ids_BL = batch.input_ids_BL
    mask_BL = torch.ones_like(ids_BL) if batch.attention_mask_BL is None else batch.attention_mask_BL
    input_BL = (batch.target_BL.cumsum(1) == 0) & mask_BL.bool()
    input_BL[torch.arange(len(mask_BL), device=mask_BL.device), mask_BL.argmax(1)] = True  # the first token
    return ids_BL, mask_BL, input_BL


def one_by_one(batch: Batch) -> Iterator[Batch]:
    """Yield each sequence of a batch as a batch of its own, without padding."""
    mask_BL = torch.ones_like(batch.input_ids_BL) if batch.attention_mask_BL is None else batch.attention_mask_BL
    for row, mask_L in enumerate(mask_BL.bool()):
        yield Batch(
            input_ids_BL=batch.input_ids_BL[row : row + 1, mask_L],
            attention_mask_BL=None,
            target_BL=batch.target_BL[row : row + 1, mask_L],
            labels_B=None if batch.labels_B is None else batch.labels_B[row : row + 1],
            tokens=int(mask_L.sum()),
        )


def counted_targets(shard: TokenShard) -> Tensor:
    """Return how many targets of each example the loss counts, int64 [N]: 1 for a class, else tokens but the first of a sequence."""
    if shard.labels_N is not None:
        return torch.ones(len(shard), dtype=torch.int64)
    counted_T = shard.target_T.clone()
    counted_T[shard.starts[:-1]] = False
    sums = torch.cat([torch.zeros(1, dtype=torch.int64), counted_T.long().cumsum(0)])
    return sums[shard.starts[1:]] - sums[shard.starts[:-1]]


def training_batches(lengths: Sequence[int], batch_size: int, draw: np.random.Generator, window: int = 64) -> Iterator[list[int]]:
    """Yield one epoch of row numbers: shuffled, then sorted by length inside windows of `window` batches.

    Sequences of like length share a batch, so little is padding, and the order of the batches is shuffled again, so
    that short ones do not come first. Every row comes once.
    """
    order = draw.permutation(len(lengths))
    size = np.asarray(lengths)
    for begin in range(0, len(order), window * batch_size):
        rows = order[begin : begin + window * batch_size]
        rows = rows[np.argsort(size[rows], kind="stable")]
        batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
        for place in draw.permutation(len(batches)):
            yield batches[place].tolist()


def evaluation_batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Yield all row numbers once, longest first, so that memory peaks at the start and little is padding."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    for begin in range(0, len(order), batch_size):
        yield order[begin : begin + batch_size].tolist()
