"""Log-likelihoods of answers after texts that share a beginning, in one pass a batch.

The beginning's keys and values are computed once and shared by all texts. All answers to a text are packed behind it in one row,
each seeing beginning, text and itself alone, so a text is read once however many answers it may have. The results are those of one
row for each text and answer, up to rounding. Sliding or linear attention is refused: a packed row would mean something else there.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from ..errors import SettingError

Ids = Sequence[int]


class SharedStart:
    """A causal model that has read the tokens `head`; answers are scored behind it."""

    def __init__(self, model: Any, head: Ids) -> None:
        kinds = set(getattr(model.config, "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"}:
            raise SettingError(
                f"prompts are scored on backbones with full attention; this one has {', '.join(sorted(kinds))}: try smollm2-135m"
            )
        self._model, self._length = model, len(head)
        self._layers: list[tuple[Tensor, Tensor]] = []  # keys and values of a layer, each [1, heads, head tokens, width]
        if head:
            with torch.inference_mode():
                ids = torch.tensor([list(head)], device=model.device)
                cache = model(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values
            self._layers = [(layer.keys, layer.values) for layer in cache.layers]

    def log_likelihoods(self, tails: Sequence[Ids], answers: Sequence[Sequence[Ids]], *, batch: int = 16) -> list[list[float]]:
        """Return, for each text, the summed log-likelihood of each of its answers, in nats.

        Args:
            tails: tokens of each text, at least one.
            answers: for each text its answers, each of at least one token; all of a text are scored in one row.
            batch: texts computed together; it changes results by rounding alone.

        Raises:
            SettingError: if an answer or a text has no token, or they do not fit the model's context.
        """
        most = getattr(self._model.config, "max_position_embeddings", None)
        for tail, each in zip(tails, answers, strict=True):
            if not tail or not each or not all(each):
                raise SettingError("a text or an answer has no token; leave it out, or give the answer a word.")
            needed = self._length + len(tail) + max(map(len, each))
            if most is not None and needed > most:
                raise SettingError(
                    f"prompt, text and answer have {needed:,} tokens, and the backbone reads {most:,}: "
                    f"the prompt alone has {self._length:,}. Shorten it, or use fewer examples."
                )
        return [
            row
            for begin in range(0, len(tails), batch)
            for row in self._batch(tails[begin : begin + batch], answers[begin : begin + batch])
        ]

    @torch.inference_mode()
    def _batch(self, tails: Sequence[Ids], answers: Sequence[Sequence[Ids]]) -> Iterator[list[float]]:
        # B texts, Q tokens of the longest text and its answers, K = head + Q, V vocabulary
        device, width = self._model.device, max(map(len, tails))
        ids_BQ, places_BQ, sees_BQQ = (part.to(device) for part in packed(tails, answers, width))
        head_BQH = sees_BQQ.new_ones(*ids_BQ.shape, self._length)
        sees_B1QK = torch.cat([head_BQH, sees_BQQ], dim=2)[:, None]
        out = self._model(
            input_ids=ids_BQ,
            position_ids=places_BQ + self._length,
            attention_mask=_additive(sees_B1QK, self._model.dtype),
            past_key_values=self._cache(len(tails)),
            use_cache=True,
            logits_to_keep=ids_BQ.shape[1] - width + 1,  # the last token of each text, and its answers
        )
        for logits_QV, each in zip(out.logits, answers, strict=True):
            yield _sums(logits_QV.float().log_softmax(-1), each)

    def _cache(self, rows: int) -> DynamicCache:
        """Return the head's keys and values for so many rows; the forward pass adds to its own copy."""
        cache = DynamicCache()
        for number, (keys, values) in enumerate(self._layers):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), number)
        return cache

    def behind(self, tails: Sequence[Ids]) -> "ReadTexts":
        """Return one batch of texts as the model has read them behind the head, each of at least one token."""
        return ReadTexts(self._model, self._cache(len(tails)), self._length, tails)


class ReadTexts:
    """Texts read once: answers are scored behind vectors that follow each of them, again and again with other vectors."""

    @torch.no_grad()
    def __init__(self, model: Any, cache: DynamicCache, head: int, tails: Sequence[Ids]) -> None:
        width = max(map(len, tails))
        ids_BW, places_BW, sees_BWW = (part.to(model.device) for part in packed(tails, [[]] * len(tails), width))
        head_BWH = sees_BWW.new_ones(*ids_BW.shape, head)
        found = model(
            input_ids=ids_BW,
            position_ids=places_BW + head,
            attention_mask=_additive(torch.cat([head_BWH, sees_BWW], dim=2)[:, None], model.dtype),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).past_key_values
        self._model, self._layers = model, [(layer.keys, layer.values) for layer in found.layers]
        self._ends_B = torch.tensor([head + len(tail) for tail in tails], device=model.device)
        text_BW = torch.tensor([[column >= width - len(tail) for column in range(width)] for tail in tails], device=model.device)
        self._seen_BK = torch.cat([text_BW.new_ones(len(tails), head), text_BW], dim=1)

    def log_likelihoods(self, vectors_PD: Tensor, answers: Sequence[Ids]) -> Tensor:
        """Return the summed log-likelihood of each answer behind each text and the vectors, float64 [B, answers], in nats.

        Args:
            vectors_PD: at least one, of the width of the model's embeddings; gradients reach them.
            answers: the same for all texts, each of at least one token.
        """
        # B texts, P vectors, Q vectors and answers, K head and text
        model, rows, length = self._model, len(self._ends_B), len(vectors_PD)
        ids_1Q, places_1Q, sees_1QQ = (part.to(model.device) for part in packed([[0] * length], [answers], length))
        words_QD = model.get_input_embeddings()(ids_1Q[0, length:])
        rows_QD = torch.cat([vectors_PD.to(words_QD), words_QD])
        seen_BQK = self._seen_BK[:, None].expand(-1, len(rows_QD), -1)
        cache = DynamicCache()
        for number, (keys, values) in enumerate(self._layers):
            cache.update(keys, values, number)
        logits_BQV = model(
            inputs_embeds=rows_QD.expand(rows, -1, -1),
            position_ids=places_1Q + self._ends_B[:, None],
            attention_mask=_additive(torch.cat([seen_BQK, sees_1QQ.expand(rows, -1, -1)], dim=2)[:, None], model.dtype),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=len(rows_QD) - length + 1,
        ).logits
        return torch.stack([torch.stack(_picked(logp_QV, answers)) for logp_QV in logits_BQV.float().log_softmax(-1)])


def packed(tails: Sequence[Ids], answers: Sequence[Sequence[Ids]], width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids [B, Q], positions [B, Q] from the head's end, and what sees what [B, Q, Q] of texts with their answers behind them.

    Texts end at column `width`, so that all answers begin at the same one; columns without a token see themselves alone.
    """
    columns = width + max(sum(map(len, each)) for each in answers)
    ids_BQ = torch.zeros(len(tails), columns, dtype=torch.long)
    places_BQ = torch.zeros_like(ids_BQ)
    sees_BQQ = torch.eye(columns, dtype=torch.bool).repeat(len(tails), 1, 1)
    for b, (tail, each) in enumerate(zip(tails, answers, strict=True)):
        first = width - len(tail)
        ids_BQ[b, first:width] = torch.tensor(list(tail))
        places_BQ[b, first:width] = torch.arange(len(tail))
        sees_BQQ[b, first:width, first:width] = _causal(len(tail))
        begin = width
        for answer in each:
            end = begin + len(answer)
            ids_BQ[b, begin:end] = torch.tensor(list(answer))
            places_BQ[b, begin:end] = len(tail) + torch.arange(len(answer))
            sees_BQQ[b, begin:end, first:width] = True
            sees_BQQ[b, begin:end, begin:end] = _causal(len(answer))
            begin = end
    return ids_BQ, places_BQ, sees_BQQ


def _causal(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril()


def _additive(sees: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill(~sees, torch.finfo(dtype).min)


def _sums(logp_QV: Tensor, answers: Sequence[Ids]) -> list[float]:
    return [float(value) for value in _picked(logp_QV, answers)]


def _picked(logp_QV: Tensor, answers: Sequence[Ids]) -> list[Tensor]:
    """Return each answer's sum; row 0 is what stands before the answers, their tokens follow it one after another."""
    sums, begin = [], 1
    for answer in answers:
        rows = torch.tensor([0, *range(begin, begin + len(answer) - 1)], device=logp_QV.device)
        wanted = torch.tensor(list(answer), device=logp_QV.device)
        sums.append(logp_QV[rows, wanted].double().sum())
        begin += len(answer)
    return sums
