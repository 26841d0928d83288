"""Texts written by the model: batches of like length, left padding, a key-value cache, a stop at the end token."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SettingError
from ..limits import BatchSize, Few, Length, Number
from .room import context, places_in_front
from .shard import evaluation_batches
from .task import by_instance

# B sequences that are being written, L tokens of the longest prompt

Progress = Callable[[int, int], None]  # done, of how many


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How texts are generated; written into the run's record, since figures depend on it."""

    beams: Few = 1  # 1 is greedy
    max_new_tokens: Length = 64  # most tokens of a generated text
    length_penalty: Number = 1.0  # exponent of the length that divides a beam's score; of no effect with one beam
    no_repeat_ngram: Length = 0  # n-grams of this size come once in prompt and text together; 0 switches it off
    batch_size: BatchSize = 64  # prompts at a time, times beams; ended texts leave the batch, so a large one wastes little

    def __post_init__(self) -> None:
        for name, least in (("beams", 1), ("max_new_tokens", 1), ("no_repeat_ngram", 0), ("batch_size", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SettingError(f"{name} is a whole number, at least {least}; got {value!r}")
        if isinstance(self.length_penalty, bool) or not isinstance(self.length_penalty, int | float):
            raise SettingError(f"length_penalty is a number; got {self.length_penalty!r}")


def generate(
    model: nn.Module, tokenizer: Any, prompts: Sequence[Sequence[int]], decoding: Decoding, progress: Progress | None = None
) -> list[str]:
    """Return what the model writes after each prompt, without marks and outer white space; no chance is involved.

    Prompts that occur more than once are answered once. With one beam and no rule on repeats the loop is ours, since ended texts
    then leave the batch; all else is transformers' `generate`.

    Args:
        prompts: tokens of each, none empty; those that leave no room in the model's context lose their beginning.
        progress: told after each batch how many of the distinct prompts are done.
    """
    distinct = list(dict.fromkeys(map(tuple, prompts)))
    room = check_room(model, decoding)
    shown = [list(prompt[-room:]) for prompt in distinct]
    write = _greedy if decoding.beams == 1 and not decoding.no_repeat_ngram and _is_plain(model) else _by_transformers
    lengths = [len(prompt) for prompt in shown]
    batches = evaluation_batches(lengths, max(1, decoding.batch_size // decoding.beams))
    if write is _by_transformers and places_in_front(model):
        batches = _of_one_length(batches, lengths)
    device = next(model.parameters()).device
    written: dict[tuple[int, ...], str] = {}
    with torch.inference_mode(), evaluating(model):
        for rows in batches:
            ids_BL, mask_BL = pad_left([shown[row] for row in rows], tokenizer.pad_token_id)
            ids_BL, mask_BL = ids_BL.to(device), mask_BL.to(device)
            if (instance := by_instance(model)) is not None:
                instance.begin(ids_BL, mask_BL, mask_BL.bool())
            texts = write(model, ids_BL, mask_BL, decoding, end_tokens(model, tokenizer))
            for row, ids in zip(rows, texts, strict=True):
                written[distinct[row]] = str(tokenizer.decode(ids, skip_special_tokens=True)).strip()
            if progress:
                progress(len(written), len(distinct))
    return [written[tuple(prompt)] for prompt in prompts]


def check_room(model: nn.Module, decoding: Decoding) -> int:
    """Return how many tokens of a prompt fit into the model's context beside what is to be written.

    Raises:
        SettingError: if there are none.
    """
    places = context(model) - places_in_front(model)
    if decoding.max_new_tokens >= places:
        raise SettingError(
            f"evaluation.generate: max_new_tokens = {decoding.max_new_tokens} leaves no room for a prompt in the model's context of "
            f"{places} tokens; lower it"
        )
    return places - decoding.max_new_tokens


def pad_left(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Return int64 tokens and mask [B, L], padded on the left, so that all prompts end side by side."""
    longest = max(map(len, prompts))
    ids_BL = torch.full((len(prompts), longest), pad_id, dtype=torch.int64)
    mask_BL = torch.zeros((len(prompts), longest), dtype=torch.int64)
    for place, prompt in enumerate(prompts):
        ids_BL[place, longest - len(prompt) :] = torch.tensor(prompt)
        mask_BL[place, longest - len(prompt) :] = 1
    return ids_BL, mask_BL


def end_tokens(model: nn.Module, tokenizer: Any) -> list[int]:
    """Return every token that ends a text: the tokenizer's, which training appends, and those of the model's own settings."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    more = named if isinstance(named, list) else [named]
    return sorted({int(token) for token in (tokenizer.eos_token_id, *more) if token is not None})


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout off inside the block, and back to what it was behind it."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _greedy(model: nn.Module, ids_BL: Tensor, mask_BL: Tensor, decoding: Decoding, ends: list[int]) -> list[list[int]]:
    """Return the likeliest next token again and again; a row leaves the batch when its text has ended."""
    texts: list[list[int]] = [[] for _ in range(len(ids_BL))]
    rows_B = list(range(len(ids_BL)))  # which text each row of the batch is writing
    position_BL = (mask_BL.cumsum(-1) - 1).clamp(min=0)
    start = {"input_ids": ids_BL, "attention_mask": mask_BL, "position_ids": position_BL}
    instance = by_instance(model)
    if places_in_front(model):
        model, start = _with_front(model, ids_BL, mask_BL, position_BL)
        mask_BL, position_BL = start["attention_mask"], start["position_ids"]
    output = model(**start, use_cache=True, logits_to_keep=1)
    while True:
        next_B = output.logits[:, -1].max(-1).indices  # four times as fast as argmax on a CPU in bfloat16
        chosen = next_B.tolist()
        for row, token in zip(rows_B, chosen, strict=True):
            texts[row].append(token)
        going = [
            place
            for place, (row, token) in enumerate(zip(rows_B, chosen, strict=True))
            if token not in ends and len(texts[row]) < decoding.max_new_tokens
        ]
        if not going:
            return texts
        cache = output.past_key_values
        if len(going) < len(rows_B):
            keep_B = torch.tensor(going, device=next_B.device)
            cache.batch_select_indices(keep_B)
            if instance is not None:
                instance.keep(keep_B)
            rows_B = [rows_B[place] for place in going]
            next_B, mask_BL, position_BL = next_B[keep_B], mask_BL[keep_B], position_BL[keep_B]
        mask_BL = torch.cat([mask_BL, mask_BL.new_ones(len(rows_B), 1)], dim=1)
        position_BL = position_BL[:, -1:] + 1
        output = model(
            input_ids=next_B[:, None],
            attention_mask=mask_BL,
            position_ids=position_BL,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )


def _by_transformers(model: Any, ids_BL: Tensor, mask_BL: Tensor, decoding: Decoding, ends: list[int]) -> list[list[int]]:
    """Return the new tokens of each prompt from transformers' own `generate`, without chance."""
    found = model.generate(
        input_ids=ids_BL,
        attention_mask=mask_BL,
        do_sample=False,
        num_beams=decoding.beams,
        max_new_tokens=decoding.max_new_tokens,
        no_repeat_ngram_size=decoding.no_repeat_ngram,
        eos_token_id=ends,
        pad_token_id=ends[0],
        use_cache=True,
        **({"length_penalty": float(decoding.length_penalty)} if decoding.beams > 1 else {}),
    )
    texts: list[list[int]] = found[:, ids_BL.shape[1] :].tolist()
    return texts


def _with_front(model: Any, ids_BL: Tensor, mask_BL: Tensor, position_BL: Tensor) -> tuple[nn.Module, dict[str, Any]]:
    """Return the model that PEFT's prefix or prompt tuning wraps, and the inputs of its first call with what stands in front.

    PEFT itself numbers the places of a padded row otherwise than those of the same row in training; here they are the same.
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


def _of_one_length(batches: Iterable[list[int]], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the rows of each batch by length: with a prompt in front, PEFT and transformers number padded rows wrongly."""
    for rows in batches:
        for length in sorted({lengths[row] for row in rows}):
            yield [row for row in rows if lengths[row] == length]


def _is_plain(model: Any) -> bool:
    """Return whether the model is called with nothing but tokens, and keeps a cache whose rows can be taken out."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    known = inspect.signature(base.forward).parameters
    return {"position_ids", "logits_to_keep", "past_key_values"} <= set(known) and not getattr(base, "_is_stateful", False)
