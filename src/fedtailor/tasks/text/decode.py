"""The ways in which a model writes: our greedy loop, transformers' own `generate`, and token by token without a cache."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..by_instance import by_instance
from .room import places_in_front

# B sequences that are being written, L tokens of the longest prompt, V vocabulary


class Rules(Protocol):
    """What of `generate.Decoding` decides which tokens are written."""

    @property
    def beams(self) -> int: ...

    @property
    def max_new_tokens(self) -> int: ...

    @property
    def length_penalty(self) -> float: ...

    @property
    def no_repeat_ngram(self) -> int: ...


class Begun:
    """A batch of texts that are being written, with the model's cache of what it has read."""

    def __init__(self, model: nn.Module, ids_BL: Tensor, mask_BL: Tensor) -> None:
        """Read the prompts, padded on the left."""
        position_BL = (mask_BL.cumsum(-1) - 1).clamp(min=0)
        start = {"input_ids": ids_BL, "attention_mask": mask_BL, "position_ids": position_BL}
        self._instance = by_instance(model)
        if places_in_front(model):
            model, start = _with_front(model, ids_BL, mask_BL, position_BL)
        self._model, self._mask_BL, self._position_BL = model, start["attention_mask"], start["position_ids"]
        self._output: Any = model(**start, use_cache=True, logits_to_keep=1)

    @property
    def logits_BV(self) -> Tensor:
        """Logits of the next token."""
        logits_BV: Tensor = self._output.logits[:, -1]
        return logits_BV

    def keep(self, rows: Sequence[int]) -> None:
        """Continue with these rows alone."""
        keep_B = torch.tensor(rows, device=self._mask_BL.device)
        self._output.past_key_values.batch_select_indices(keep_B)
        if self._instance is not None:
            self._instance.keep(keep_B)
        self._mask_BL, self._position_BL = self._mask_BL[keep_B], self._position_BL[keep_B]

    def step(self, next_B: Tensor) -> None:
        """Read one more token of each row."""
        self._mask_BL = torch.cat([self._mask_BL, self._mask_BL.new_ones(len(next_B), 1)], dim=1)
        self._position_BL = self._position_BL[:, -1:] + 1
        self._output = self._model(
            input_ids=next_B[:, None],
            attention_mask=self._mask_BL,
            position_ids=self._position_BL,
            past_key_values=self._output.past_key_values,
            use_cache=True,
            logits_to_keep=1,
        )


def greedy(model: nn.Module, ids_BL: Tensor, mask_BL: Tensor, rules: Rules, ends: list[int]) -> list[list[int]]:
    """Return the likeliest next token again and again; a row leaves the batch when its text has ended."""
    texts: list[list[int]] = [[] for _ in range(len(ids_BL))]
    rows_B = list(range(len(ids_BL)))  # which text each row of the batch is writing
    begun = Begun(model, ids_BL, mask_BL)
    while True:
        next_B = begun.logits_BV.max(-1).indices  # four times as fast as argmax on a CPU in bfloat16
        chosen = next_B.tolist()
        for row, token in zip(rows_B, chosen, strict=True):
            texts[row].append(token)
        going = [
            place
            for place, (row, token) in enumerate(zip(rows_B, chosen, strict=True))
            if token not in ends and len(texts[row]) < rules.max_new_tokens
        ]
        if not going:
            return texts
        if len(going) < len(rows_B):
            begun.keep(going)
            rows_B = [rows_B[place] for place in going]
            next_B = next_B[torch.tensor(going, device=next_B.device)]
        begun.step(next_B)


def by_transformers(model: Any, ids_BL: Tensor, mask_BL: Tensor, rules: Rules, ends: list[int]) -> list[list[int]]:
    """Return the new tokens of each prompt from transformers' own `generate`, without chance."""
    texts: list[list[int]] = transformers_generate(model, ids_BL, mask_BL, rules, ends)[:, ids_BL.shape[1] :].tolist()
    return texts


def by_transformers_uncached(model: Any, ids_BL: Tensor, mask_BL: Tensor, rules: Rules, ends: list[int]) -> list[list[int]]:
    """Return the same; the model reads each text again for each token."""
    found = transformers_generate(model, ids_BL, mask_BL, rules, ends, use_cache=False)
    texts: list[list[int]] = found[:, ids_BL.shape[1] :].tolist()
    return texts


def by_reading_again(model: Any, ids_BL: Tensor, mask_BL: Tensor, rules: Rules, ends: list[int]) -> list[list[int]]:
    """Return the likeliest next token again and again of one text, which the model reads as in training: whole, without cache or positions."""
    text: list[int] = []
    while len(text) < rules.max_new_tokens and (not text or text[-1] not in ends):
        whole_BL = torch.cat([ids_BL, ids_BL.new_tensor([text])], dim=1) if text else ids_BL
        text.append(int(read_whole(model, whole_BL)[0, -1].max(-1).indices))
    return [text]


def read_whole(model: Any, ids_BL: Tensor) -> Tensor:
    """Return the logits [B, L, V] of texts without padding, as in training."""
    logits_BLV: Tensor = model(input_ids=ids_BL, attention_mask=None, use_cache=False).logits
    return logits_BLV


def transformers_generate(
    model: Any, ids_BL: Tensor, mask_BL: Tensor, rules: Rules, ends: list[int], *, use_cache: bool = True, **more: Any
) -> Any:
    """Return what transformers' `generate` returns by these rules, whatever the backbone's own generation_config says."""
    with _own_settings_away(model) as clean:
        settings = clean(
            do_sample=False,
            num_beams=rules.beams,
            max_new_tokens=rules.max_new_tokens,
            no_repeat_ngram_size=rules.no_repeat_ngram,
            eos_token_id=ends or None,
            pad_token_id=ends[0] if ends else 0,
            use_cache=use_cache,
            **({"length_penalty": float(rules.length_penalty)} if rules.beams > 1 else {}),
            **more,
        )
        return model.generate(input_ids=ids_BL, attention_mask=mask_BL, generation_config=settings)


@contextmanager
def _own_settings_away(model: Any) -> Iterator[Any]:
    """Give the model an empty generation_config inside the block, and the caller its class: `generate` fills in from it what it is not given."""
    base = bare(model)
    own = base.generation_config
    base.generation_config = type(own)()
    try:
        yield type(own)
    finally:
        base.generation_config = own


def bare(model: Any) -> Any:
    """Return the model of transformers inside PEFT's wrappers."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _with_front(model: Any, ids_BL: Tensor, mask_BL: Tensor, position_BL: Tensor) -> tuple[nn.Module, dict[str, Any]]:
    """Return the model that PEFT's prefix or prompt tuning wraps, and the inputs of its first call with what stands in front.

    PEFT itself numbers the positions of a padded row otherwise than those of the same row in training; here they are the same.
    """
    count = places_in_front(model)
    front = model.get_prompt(batch_size=len(ids_BL))
    mask_BL = torch.cat([mask_BL.new_ones(len(mask_BL), count), mask_BL], dim=1)
    position_BL = position_BL + count
    if model.active_peft_config.peft_type == "PREFIX_TUNING":
        first = {"input_ids": ids_BL, "past_key_values": front}
    else:
        words_BLH = model.word_embeddings(ids_BL)
        first = {"inputs_embeds": torch.cat([front.to(words_BLH.dtype), words_BLH], dim=1)}
        before_BN = torch.arange(count, device=ids_BL.device).expand(len(ids_BL), -1)
        position_BL = torch.cat([before_BN, position_BL], dim=1)
    return model.get_base_model(), {**first, "attention_mask": mask_BL, "position_ids": position_BL}
