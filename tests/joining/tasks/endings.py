"""The task of writing the last word of a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from torch import Tensor, nn

from ..records import Example
from .evaluation import Measured, Pass
from .losses import Losses
from .shard import Batch, Shard, TokenShard
from .task import Bench, LogitsAt, Objective
from .text.causal import causal_loss
from .text.measure import measure_tokens, text_objective, token_batch, token_losses
from .text.tokenization import encode, flat, leading_marks, mask_from, text_of


@dataclass(frozen=True, kw_only=True)
class Endings:
    """The loss counts the last token of a text alone."""

    kind: Literal["endings"] = "endings"
    required: ClassVar[tuple[str, ...]] = ("text",)
    optional: ClassVar[tuple[str, ...]] = ()
    context: ClassVar[tuple[str, ...]] = ()
    backbone: ClassVar[str] = "causal"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "perplexity")
    default_metrics: ClassVar[tuple[str, ...]] = metrics
    figures: ClassVar[tuple[str, ...]] = (*metrics, "examples", "tokens")

    def resolve(self, examples: Sequence[Example], base: Path) -> Self:
        """Return the task itself."""
        return self

    def labels_of(self, examples: Sequence[Example], base: Path = Path()) -> tuple[str, ...]:
        """Return no labels."""
        return ()

    def prepare(self, examples: Sequence[Example], tokenizer: Any, *, keep_examples: bool) -> TokenShard:
        """Return the texts as tokens."""
        marks = leading_marks(tokenizer)
        rows = [[*marks, *found.ids] for found in encode(tokenizer, [text_of(one, "text") for one in examples])]
        tokens_T, starts = flat(rows)
        last = [len(row) - 1 for row in rows]
        return TokenShard(
            tokens_T=tokens_T, target_T=mask_from(last, starts), starts=starts, examples=tuple(examples) if keep_examples else ()
        )

    def loss(self, model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, int]:
        """Return the sum of the loss over the last tokens."""
        return causal_loss(model, batch, logits_at)

    def batch(self, worker: Bench, shard: Shard, rows: Sequence[int]) -> Batch:
        """Return a batch."""
        return token_batch(worker, shard, rows)

    def objectives(self, worker: Bench) -> list[Objective]:
        """Return the one loss."""
        return [text_objective(self, worker)]

    def losses(self, worker: Bench, shard: Shard, how: Pass) -> Losses:
        """Return the sums of the loss."""
        return token_losses(self, worker, shard, how)

    def measure(self, worker: Bench, shard: Shard, how: Pass) -> Measured:
        """Return loss and perplexity."""
        return measure_tokens(self, worker, shard, how)
