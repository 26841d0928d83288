"""Texts written by the model: batches of like length, left padding, a key-value cache, a stop at the end token.

What is written hangs on `Decoding` alone, and where a text may end on the model's end tokens; no other setting of the backbone's own
generation_config takes part. How a model is called is tried out before its first text (see `ways`), so that no text hangs on the batch it is in.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import SettingError
from ...limits import BatchSize, Few, Length, Number
from ..by_instance import by_instance
from ..losses import Progress
from ..shard import evaluation_batches
from .room import context, places_in_front
from .ways import choose_way

# B sequences that are being written, L tokens of the longest prompt


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
    model: nn.Module,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    progress: Progress | None = None,
    *,
    ends: Sequence[int] = (),
) -> list[str]:
    """Return what the model writes after each prompt, without marks and outer white space; no chance is involved.

    Prompts that occur more than once are answered once. With one beam and no rule on repeats the loop is ours, since ended texts
    then leave the batch; all else is transformers' `generate`. Models whose texts would hang on the batch write one at a time.

    Args:
        prompts: tokens of each, none empty; those that leave no room in the model's context lose their beginning.
        progress: called after each batch with how many of the distinct prompts are done.
        ends: tokens that end a text beside the usual ones, as the task has them.

    Raises:
        BackboneError: if the model cannot write in the way that is asked for.
    """
    distinct = list(dict.fromkeys(map(tuple, prompts)))
    room = check_room(model, decoding)
    shown = [list(prompt[-room:]) for prompt in distinct]
    lengths = [len(prompt) for prompt in shown]
    device = next(model.parameters()).device
    written: dict[tuple[int, ...], str] = {}
    with torch.inference_mode(), evaluating(model):
        way = choose_way(model, decoding)
        batches = evaluation_batches(lengths, max(1, decoding.batch_size // decoding.beams) if way.together else 1)
        if places_in_front(model) and not way.numbers_front:
            batches = _of_one_length(batches, lengths)
        for rows in batches:
            ids_BL, mask_BL = pad_left([shown[row] for row in rows], tokenizer.pad_token_id)
            ids_BL, mask_BL = ids_BL.to(device), mask_BL.to(device)
            if (instance := by_instance(model)) is not None:
                instance.begin(ids_BL, mask_BL, mask_BL.bool())
            texts = way.write(model, ids_BL, mask_BL, decoding, sorted({*end_tokens(model, tokenizer), *ends}))
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


def first_line(text: str) -> str:
    """Return the first line of a text that has any word in it."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


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


def _of_one_length(batches: Iterable[list[int]], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the rows of each batch by length: with a prompt in front, PEFT and transformers number padded rows wrongly."""
    for rows in batches:
        for length in sorted({lengths[row] for row in rows}):
            yield [row for row in rows if lengths[row] == length]
