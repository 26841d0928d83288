"""The task of marking the answer to a question in a text: a head gives each token two logits, that the answer begins and that it ends there.

Source: Devlin et al., 2019, arXiv:1810.04805, section 4.2. Difference: every text holds its answer, so there is no null answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SettingError
from ..limits import Length
from ..metrics.answers import answer_f1, exact_match
from ..pairs import USUAL_NEEDS, Need
from ..records import Example
from .evaluation import Measured, Pass
from .losses import Losses
from .shard import Batch, Shard, TokenShard, collate, evaluation_batches, tokens_of
from .task import Bench, Objective
from .text.markers import Tokens
from .text.measure import token_batch
from .text.tokenization import encode, flat, marks_of, text_of

# B texts, L places

PLACES = 2**16  # a label is the place of the first token of an answer times this, plus that of its last
LONGEST = 30  # tokens of an answer
AT_ONCE = 8  # texts that are read at once outside of training
QUESTION = 64  # tokens of a question; a longer one loses its end


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """Question and text to the words of the text that answer it."""

    needs: ClassVar[Sequence[Need]] = (*USUAL_NEEDS["task"], Need(word="any-model", remedy="choose protocol: averaging"))
    kind: Literal["extraction"] = "extraction"
    max_tokens: Length = 320  # of question and text with the tokenizer's marks; a longer text loses its end

    truncate: ClassVar[str] = "end"
    required: ClassVar[tuple[str, ...]] = ("question", "text", "answer")
    optional: ClassVar[tuple[str, ...]] = ("answers",)  # further right ones
    context: ClassVar[tuple[str, ...]] = ()
    backbone: ClassVar[str] = "reader"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "exact_match", "f1")
    default_metrics: ClassVar[tuple[str, ...]] = metrics
    figures: ClassVar[tuple[str, ...]] = (*metrics, "examples")

    def __post_init__(self) -> None:
        if not QUESTION < self.max_tokens < PLACES:
            raise SettingError(
                f"max_tokens is of question and text, above {QUESTION} and below {PLACES}; got {self.max_tokens!r}"
            )

    def resolve(self, examples: Sequence[Example], base: Path) -> Self:
        """Return the task itself."""
        return self

    def labels_of(self, examples: Sequence[Example], base: Path = Path()) -> tuple[str, ...]:
        """Return nothing: there are no classes."""
        return ()

    def prepare(self, examples: Sequence[Example], tokenizer: Any, *, keep_examples: bool) -> TokenShard:
        """Return question and text as one row of tokens each, with the places where the answer may stand, and where it stands."""
        rows, inside, labels, kept, dropped = [], [], [], [], []
        pairs = self.encode(tokenizer, [(text_of(one, "question"), text_of(one, "text")) for one in examples])
        for example, (row, begin, tokens) in zip(examples, pairs, strict=True):
            place = _place(text_of(example, "text"), text_of(example, "answer"), tokens)
            if place is None:
                dropped.append((example.id, "its answer does not stand in its text, or behind task.max_tokens"))
                continue
            rows.append(row)
            inside += [begin <= at < begin + len(tokens.ids) for at in range(len(row))]
            labels.append((begin + place[0]) * PLACES + begin + place[1])
            kept.append(example)
        tokens_T, starts = flat(rows)
        return TokenShard(
            tokens_T=tokens_T,
            target_T=torch.tensor(inside, dtype=torch.bool),
            starts=starts,
            labels_N=torch.tensor(labels, dtype=torch.int64),
            examples=tuple(kept) if keep_examples else (),
            dropped=tuple(dropped),
        )

    def encode(self, tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], int, Tokens]]:
        """Return, for each question and text, a row of tokens, the place where the text begins in it, and the tokens of the text that it holds."""
        begin, end = marks_of(tokenizer)
        questions, texts = (encode(tokenizer, [pair[side] for pair in pairs]) for side in (0, 1))
        found = []
        for question, text in zip(questions, texts, strict=True):
            head = [*begin, *question.ids[:QUESTION], *end]
            room = max(1, self.max_tokens - len(head) - len(end))
            held = Tokens(ids=text.ids[:room], spans=text.spans[:room])
            found.append(([*head, *held.ids, *end], len(head), held))
        return found

    def batch(self, worker: Bench, shard: Shard, rows: Sequence[int]) -> Batch:
        """Return the texts numbered `rows` as one padded batch."""
        return token_batch(worker, shard, rows)

    def objectives(self, worker: Bench) -> Sequence[Objective]:
        """Return the one loss that there is."""

        def loss(batch: Batch) -> tuple[Tensor, int]:
            with worker.computing(tokens=batch.input_ids_BL.shape[1]):
                return self._loss(worker.model, batch)

        return [Objective(name="loss", loss=loss)]

    def losses(self, worker: Bench, shard: Shard, how: Pass) -> Losses:
        """Return the sums of the loss over all texts of `shard`."""

        def of_rows(rows: Sequence[int]) -> tuple[float, int, None]:
            loss, count = self._loss(worker.model, token_batch(worker, shard, rows))
            return loss.item(), count, None

        return how.sums(shard, of_rows, batch_size=worker.evaluation.batch_size)

    def measure(self, worker: Bench, shard: Shard, how: Pass) -> Measured:
        """Return the loss, and exact match and F1 of the words that are marked."""
        if how.texts_alone:
            return Measured(figures={}, losses=how.known)
        losses = how.known or self.losses(worker, shard, how)
        pairs = self.encode(worker.processor, [(text_of(one, "question"), text_of(one, "text")) for one in shard.examples])
        sums = {"exact_match": 0.0, "f1": 0.0}
        for rows in evaluation_batches(tokens_of(shard).sizes_N.tolist(), worker.evaluation.batch_size):
            marked = best_spans(*span_logits(worker.model, token_batch(worker, shard, rows)))
            for row, (first, last, _) in zip(rows, marked, strict=True):
                example, (_, begin, tokens) = shard.examples[row], pairs[row]
                said = text_of(example, "text")[tokens.spans[first - begin][0] : tokens.spans[last - begin][1]]
                more = example.fields.get("answers")
                right = [text_of(example, "answer"), *(map(str, more) if isinstance(more, list | tuple) else ())]
                sums["exact_match"] += exact_match(said, right)
                sums["f1"] += answer_f1(said, right)
        figures = {"loss": losses.total / losses.counted, "examples": len(shard)}
        return Measured(figures=figures | {name: total / len(shard) for name, total in sums.items()}, losses=losses)

    @torch.inference_mode()
    def marked(self, model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[tuple[int, int, float]]:
        """Return, for each question and text, where the answer begins and ends in the text, in characters, and the sum of its two logits."""
        encoded, found = self.encode(tokenizer, pairs), []
        for start in range(0, len(encoded), AT_ONCE):
            some = encoded[start : start + AT_ONCE]
            tokens_T, starts = flat([row for row, _, _ in some])
            inside = [head <= at < head + len(tokens.ids) for row, head, tokens in some for at in range(len(row))]
            shard = TokenShard(tokens_T=tokens_T, target_T=torch.tensor(inside, dtype=torch.bool), starts=starts)
            batch = collate(shard, range(len(some)), tokenizer.pad_token_id, model.device)
            for (_, head, tokens), (first, last, score) in zip(some, best_spans(*span_logits(model, batch)), strict=True):
                found.append((tokens.spans[first - head][0], tokens.spans[last - head][1], score))
        return found

    def _loss(self, model: Any, batch: Batch) -> tuple[Tensor, int]:
        """Return the float32 sum over texts of the mean of -log p(first token) and -log p(last token), and their number."""
        first_BL, last_BL = span_logits(model, batch)
        assert batch.labels_B is not None
        starts, ends = batch.labels_B // PLACES, batch.labels_B % PLACES
        loss = F.cross_entropy(first_BL, starts, reduction="sum") + F.cross_entropy(last_BL, ends, reduction="sum")
        return loss / 2, len(batch.labels_B)


def best_spans(first_BL: Tensor, last_BL: Tensor) -> list[tuple[int, int, float]]:
    """Return, for each text, the first and last place of the likeliest answer of at most LONGEST tokens, and the sum of its two logits."""
    length = first_BL.shape[1]
    scores_BLL = first_BL[:, :, None] + last_BL[:, None, :]
    ahead_LL = torch.arange(length)[None, :] - torch.arange(length)[:, None]
    fits_LL = ((ahead_LL >= 0) & (ahead_LL < LONGEST)).to(first_BL.device)
    flat_BX = scores_BLL.masked_fill(~fits_LL, -torch.inf).flatten(1)
    best_B = flat_BX.argmax(1)
    return [(int(at) // length, int(at) % length, float(flat_BX[row, at])) for row, at in enumerate(best_B)]


def span_logits(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return float32 logits [B, L] of first and last token; -inf where no answer may stand."""
    found = model(input_ids=batch.input_ids_BL, attention_mask=batch.attention_mask_BL)
    outside_BL = ~batch.target_BL
    return found.start_logits.float().masked_fill(outside_BL, -torch.inf), found.end_logits.float().masked_fill(
        outside_BL, -torch.inf
    )


def _place(text: str, answer: str, tokens: Tokens) -> tuple[int, int] | None:
    """Return the numbers of the first and last token of an answer's first occurrence in a text; None if there is none among the tokens."""
    begin = text.find(answer) if answer.strip() else -1
    if begin < 0:
        return None
    inside = [n for n, (first, last) in enumerate(tokens.spans) if first < begin + len(answer) and last > begin]
    if not inside or tokens.spans[inside[-1]][1] < begin + len(answer.rstrip()):
        return None
    return inside[0], inside[-1]
