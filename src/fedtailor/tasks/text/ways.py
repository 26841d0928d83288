"""Which way a model is made to write, tried out before its first text: nothing is guessed from its name or its kind of cache.

A way is right if the logits that it leads to are those of the same text read whole and alone, as in training.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...causes import detail_of
from ...errors import BackboneError
from ..by_instance import by_instance
from .decode import (
    Begun,
    Rules,
    bare,
    by_reading_again,
    by_transformers,
    by_transformers_uncached,
    greedy,
    read_whole,
    transformers_generate,
)

# B prompts, L tokens of the longest, V vocabulary

Write = Callable[[Any, Tensor, Tensor, Rules, list[int]], list[list[int]]]
KEPT = "ways_of_writing"  # attribute of a model of transformers: what was found out about it
SAME, SAME_COARSE = 1e-4, 0.1  # of the largest logit: what rounding may change, in float32 and in coarser precisions
LONG, SHORT = 5, 2  # tokens of the prompts


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a model is made to write."""

    write: Write
    together: bool  # several prompts at a time, padded on the left; else each on its own

    @property
    def numbers_front(self) -> bool:
        """Whether padded rows are numbered as in training where a prefix or prompt stands in front."""
        return self.write is greedy


@dataclass(frozen=True, kw_only=True)
class _Two:
    """The rules of a trial: those of the job, for two tokens."""

    beams: int
    length_penalty: float
    no_repeat_ngram: int
    max_new_tokens: int = 2


def choose_way(model: nn.Module, rules: Rules) -> Way:
    """Return the quickest way that is right for this model; found once for each model and kind of rules.

    Costs a few forward passes of a few tokens: 0.2 s with 135 M weights on one core.

    Raises:
        BackboneError: if none is.
    """
    base = bare(model)
    plain = rules.beams == 1 and not rules.no_repeat_ngram
    known: dict[tuple[bool, bool], Way] = vars(base).setdefault(KEPT, {})
    key = (rules.beams > 1, rules.no_repeat_ngram > 0)
    if key not in known:
        ours = (Way(write=greedy, together=True), Way(write=greedy, together=False)) if plain and _takes_positions(base) else ()
        theirs = () if ours else (Way(write=by_transformers, together=True),)
        alone = tuple(Way(write=write, together=False) for write in (by_transformers, by_transformers_uncached))
        last = (Way(write=by_reading_again, together=False),) if plain else ()
        known[key] = _first_right(model, (*ours, *theirs, *alone, *last), rules)
    return known[key]


def _takes_positions(base: Any) -> bool:
    """Return whether our own loop can call the model at all."""
    return {"position_ids", "logits_to_keep", "past_key_values"} <= set(inspect.signature(base.forward).parameters)


def _first_right(model: nn.Module, ways: tuple[Way, ...], rules: Rules) -> Way:
    faults: list[Exception] = []
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        for way in ways:
            if way.write is by_reading_again:
                return way
            try:
                if _is_right(model, way, rules):
                    return way
            except Exception as fault:  # whatever a model's code raises that was not written for this way
                faults.append(fault)
    said = f" ({detail_of(faults[-1])})" if faults else ""
    raise BackboneError(
        f"a {type(bare(model)).__name__} cannot write texts with beams = {rules.beams} and no_repeat_ngram = {rules.no_repeat_ngram}{said}; set "
        "evaluation.generate.beams: 1 and no_repeat_ngram: 0, or leave metrics of texts out of evaluation.metrics"
    )


def _is_right(model: nn.Module, way: Way, rules: Rules) -> bool:
    """Return whether two tokens that are written this way have the logits that they have when the text is read whole."""
    base, instance = bare(model), by_instance(model)
    rows = [_tokens(base, LONG, 3), _tokens(base, SHORT, 7)] if way.together else [_tokens(base, SHORT, 7)]
    ids_BL, mask_BL = torch.zeros(2, len(rows), max(map(len, rows)), dtype=torch.int64, device=next(base.parameters()).device)
    for row, tokens in enumerate(rows):
        ids_BL[row, -len(tokens) :], mask_BL[row, -len(tokens) :] = torch.tensor(tokens), 1
    if instance is not None:
        instance.begin(ids_BL, mask_BL, mask_BL.bool())
    found, tokens = _ours(model, ids_BL, mask_BL) if way.write is greedy else _theirs(base, way, ids_BL, mask_BL, rules)
    whole_BL = ids_BL.new_tensor([[*rows[-1], tokens[0]]])
    if instance is not None:
        instance.begin(whole_BL, torch.ones_like(whole_BL), torch.ones_like(whole_BL).bool())
    wanted = read_whole(base, whole_BL)[0, -2:].float()
    if rules.beams > 1:
        each = wanted.log_softmax(-1)[torch.arange(2), tokens]
        wanted = torch.cat([wanted[0], each.sum(0, keepdim=True) / 2**rules.length_penalty])
    coarse = next(base.parameters()).dtype != torch.float32 or torch.is_autocast_enabled(ids_BL.device.type)
    apart, scale = float((found - wanted).abs().max()), float(wanted.abs().max())
    return apart <= scale * (SAME_COARSE if coarse else SAME)


def _ours(model: nn.Module, ids_BL: Tensor, mask_BL: Tensor) -> tuple[Tensor, list[int]]:
    """Return the logits of the last prompt's next two tokens, after all others have left the batch, and the token between them."""
    begun = Begun(bare(model), ids_BL, mask_BL)
    first_V = begun.logits_BV[-1].float()
    token = int(first_V.argmax())
    if len(ids_BL) > 1:
        begun.keep([len(ids_BL) - 1])
    begun.step(ids_BL.new_tensor([token]))
    return torch.stack([first_V, begun.logits_BV[-1].float()]), [token]


def _theirs(base: Any, way: Way, ids_BL: Tensor, mask_BL: Tensor, rules: Rules) -> tuple[Tensor, list[int]]:
    """Return the same from transformers' `generate`; with several beams the first token's logits and the text's score, since beams change places."""
    two = _Two(beams=rules.beams, length_penalty=rules.length_penalty, no_repeat_ngram=rules.no_repeat_ngram)
    asked = {"output_logits": True, "output_scores": True, "return_dict_in_generate": True}
    output = transformers_generate(base, ids_BL, mask_BL, two, [], use_cache=way.write is not by_transformers_uncached, **asked)
    tokens: list[int] = output.sequences[-1, ids_BL.shape[1] :].tolist()
    if rules.beams > 1:
        return torch.cat([output.logits[0][-1].float(), output.sequences_scores[-1:].float()]), tokens
    return torch.stack([logits_BV[-1].float() for logits_BV in output.logits]), tokens


def _tokens(base: Any, count: int, step: int) -> list[int]:
    """Return tokens from all over the vocabulary."""
    size = base.get_input_embeddings().weight.shape[0]
    return [(step + (size // 9 + step) * place) % size for place in range(count)]
