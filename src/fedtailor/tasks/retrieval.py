"""The task of finding the passage that answers a question: the question's side of an embedder is trained, the passages' vectors stay.

No passage is ever embedded again, and all passages of a client are negatives at no cost. The loss is that of Henderson et al., 2017, arXiv:1705.00652
(section 4.4), with all passages of the client in the place of those of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import DataError, SettingError
from ..limits import Length, Number
from ..pairs import USUAL_NEEDS, Need
from ..records import Example
from .evaluation import Measured, Pass
from .losses import Losses
from .shard import Batch, Shard, TokenShard, evaluation_batches, tokens_of
from .task import Bench, Objective
from .text.measure import token_batch
from .text.tokenization import encode, flat, marks_of, text_of

# B questions, P passages, H width

RECALL_AT = (1, 5)


@dataclass(frozen=True, kw_only=True)
class PassageRetrieval:
    """Question to the passage that answers it, among all passages of whoever holds it."""

    needs: ClassVar[Sequence[Need]] = (
        *USUAL_NEEDS["task"],
        Need(word="any-model", remedy="choose protocol: averaging"),
    )
    kind: Literal["retrieval"] = "retrieval"
    trains: Literal["query"] = "query"  # which side learns; the vectors of passages are those of the backbone
    max_tokens: Length = 64  # of a question; a longer one loses its end
    scale: Number = 20.0  # that cosines are multiplied with before the softmax

    not_tried: ClassVar[str] = (
        "this run has trained vectors of questions, which answer nothing by themselves; ask documents with it: protocol: {kind: retrieval, query: RUN}"
    )
    truncate: ClassVar[str] = "end"
    required: ClassVar[tuple[str, ...]] = ("question", "text")
    optional: ClassVar[tuple[str, ...]] = ()
    context: ClassVar[tuple[str, ...]] = ()
    backbone: ClassVar[str] = "embedder"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "recall@1", "recall@5")
    default_metrics: ClassVar[tuple[str, ...]] = metrics
    figures: ClassVar[tuple[str, ...]] = (*metrics, "examples")

    def __post_init__(self) -> None:
        if self.max_tokens < 4:
            raise SettingError(f"max_tokens is of a question with the tokenizer's marks, at least 4; got {self.max_tokens!r}")
        if not 0 < self.scale <= 1000:
            raise SettingError(f"scale is what cosines are multiplied with, above 0 and at most 1000; got {self.scale!r}")
        if self.trains != "query":
            raise SettingError(
                f"trains is query, got {self.trains!r}; training passages too would embed them all again after each round"
            )

    def resolve(self, examples: Sequence[Example], base: Path) -> Self:
        """Return the task itself."""
        return self

    def labels_of(self, examples: Sequence[Example], base: Path = Path()) -> tuple[str, ...]:
        """Return nothing: there are no classes."""
        return ()

    def prepare(self, examples: Sequence[Example], tokenizer: Any, *, keep_examples: bool) -> TokenShard:
        """Return the questions' tokens, and the numbers of the passages that answer them; the examples are always kept, as they hold the passages."""
        begin, end = marks_of(tokenizer)
        room = max(1, self.max_tokens - len(begin) - len(end))
        questions = [text_of(example, "question") for example in examples]
        rows, kept, cut, dropped = [], [], [], []
        for example, question, tokens in zip(examples, questions, encode(tokenizer, questions), strict=True):
            if not question.strip() or not text_of(example, "text").strip():
                dropped.append((example.id, "its question or passage is empty"))
                continue
            rows.append([*begin, *tokens.ids[:room], *end])
            cut.append(max(0, len(tokens.ids) - room))
            kept.append(example)
        tokens_T, starts = flat(rows)
        number = {text: place for place, text in enumerate(_passages(kept))}
        return TokenShard(
            tokens_T=tokens_T,
            target_T=torch.zeros(len(tokens_T), dtype=torch.bool),
            starts=starts,
            labels_N=torch.tensor([number[text_of(example, "text")] for example in kept], dtype=torch.int64),
            examples=tuple(kept),
            dropped=tuple(dropped),
            cut_N=torch.tensor(cut, dtype=torch.int64),
        )

    def batch(self, worker: Bench, shard: Shard, rows: Sequence[int]) -> "WithPassages":
        """Return the questions numbered `rows` as one padded batch, and the vectors of all passages of the shard, float32 [P, H]."""
        return WithPassages(token_batch(worker, shard, rows), self.passage_vectors(worker, shard))

    def passage_vectors(self, worker: Bench, shard: Shard) -> Tensor:
        """Return the vectors of all passages of a shard, float32 [P, H].

        Raises:
            DataError: if the shard has lost its passages.
        """
        if len(shard) and not shard.examples:
            raise DataError("these questions have lost their passages; give the examples themselves")
        found: Tensor = worker.vectors.frozen(_passages(shard.examples))
        return found

    def objectives(self, worker: Bench) -> Sequence[Objective]:
        """Return the one loss that there is."""

        def loss(batch: "WithPassages") -> tuple[Tensor, int]:
            with worker.computing(tokens=batch.questions.input_ids_BL.shape[1]):
                return self._loss(worker, batch.questions, batch.passages)

        return [Objective(name="loss", loss=loss)]

    def losses(self, worker: Bench, shard: Shard, how: Pass) -> Losses:
        """Return the sums of the loss over all questions of `shard`."""
        passages_PH = self.passage_vectors(worker, shard)

        def of_rows(rows: Sequence[int]) -> tuple[float, int, None]:
            loss, count = self._loss(worker, token_batch(worker, shard, rows), passages_PH)
            return loss.item(), count, None

        return how.sums(shard, of_rows, batch_size=worker.evaluation.batch_size)

    def measure(self, worker: Bench, shard: Shard, how: Pass) -> Measured:
        """Return the loss, and how often the right passage is among the best: of those of equal cosines it counts as the last."""
        if how.texts_alone:
            return Measured(figures={}, losses=how.known)
        losses = how.known or self.losses(worker, shard, how)
        passages_PH, found = self.passage_vectors(worker, shard), dict.fromkeys(RECALL_AT, 0)
        for rows in evaluation_batches(tokens_of(shard).sizes_N.tolist(), worker.evaluation.batch_size):
            batch = token_batch(worker, shard, rows)
            cosines_BP = worker.vectors.trained(batch).float() @ passages_PH.T
            assert batch.labels_B is not None
            ranks_B = (cosines_BP >= cosines_BP.gather(1, batch.labels_B[:, None])).sum(1)
            for k in RECALL_AT:
                found[k] += int((ranks_B <= k).sum())
        figures = {"loss": losses.total / losses.counted, "examples": len(shard)}
        return Measured(figures=figures | {f"recall@{k}": found[k] / len(shard) for k in RECALL_AT}, losses=losses)

    def _loss(self, worker: Bench, batch: Batch, passages_PH: Tensor) -> tuple[Tensor, int]:
        """Return the float32 sum of -log p(right passage | question) over the questions, and their number."""
        assert batch.labels_B is not None
        logits_BP = self.scale * (worker.vectors.trained(batch).float() @ passages_PH.T)
        return F.cross_entropy(logits_BP, batch.labels_B, reduction="sum"), len(batch.labels_B)


@dataclass(frozen=True)
class WithPassages:
    """A batch of questions, with the vectors of all passages that they are held against."""

    questions: Batch
    passages: Tensor  # float32 [P, H]

    @property
    def tokens(self) -> int:
        """Of the questions, without padding."""
        return self.questions.tokens


def _passages(examples: Sequence[Example]) -> list[str]:
    """Return the passages of examples, each once, in their order."""
    return list(dict.fromkeys(text_of(example, "text") for example in examples))
