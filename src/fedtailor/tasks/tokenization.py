"""Prompts and targets as tokens, parted where the tokenizer's own offsets say that the target begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import BackboneError, DataError
from ..records import Example

Span = tuple[int, int]  # first character and the one behind the last


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The text before a target, and which of its characters are the input, the part that may be shortened."""

    text: str
    input: Sequence[Span]  # in order: what comes first is cut first; empty: nothing was recognized, so nothing can be cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Tokens of one text, each with the characters it stands for."""

    ids: Sequence[int]
    spans: Sequence[Span]


def encode(tokenizer: Any, texts: Sequence[str]) -> list[Tokens]:
    """Return the tokens of each text, without the tokenizer's own marks of begin and end.

    Raises:
        BackboneError: if the tokenizer cannot tell which characters a token stands for.
    """
    if not texts:
        return []
    if not getattr(tokenizer, "is_fast", False):
        raise BackboneError(
            f"the tokenizer {type(tokenizer).__name__} cannot tell which characters a token stands for, which the label mask "
            "is made of; use a backbone with a tokenizer.json (a fast tokenizer)"
        )
    found = tokenizer(
        list(texts), add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False
    )
    return [Tokens(ids=ids, spans=spans) for ids, spans in zip(found["input_ids"], found["offset_mapping"], strict=True)]


def first_target_token(spans: Sequence[Span], begin: int) -> int | None:
    """Return the number of the token that starts at character `begin`; None if no border of tokens is there.

    There is none where a token reaches over `begin`, and none can be trusted where the character before `begin` belongs to no
    token: some tokenizers put a space into the next token and leave it out of the offsets.
    """
    place = next((number for number, (_, end) in enumerate(spans) if end > begin), None)
    if place is None or spans[place][0] != begin:
        return None
    covered = max((end for _, end in spans[:place]), default=0)
    return place if covered == begin else None


def encode_prompts(tokenizer: Any, texts: Sequence[str]) -> list[Tokens]:
    """Return the tokens of each prompt as they are in front of a target, whatever the target.

    A prompt by itself may have other tokens than in front of a text: GPT-2 makes one token of two line breaks at the end, two
    before a letter. So each is encoded before a letter, and by itself only where that letter would melt into the prompt.
    """
    found = []
    for text, joint in zip(texts, encode(tokenizer, [text + "A" for text in texts]), strict=True):
        place = first_target_token(joint.spans, len(text))
        found.append(None if place is None else Tokens(ids=joint.ids[:place], spans=joint.spans[:place]))
    alone = iter(encode(tokenizer, [text for text, tokens in zip(texts, found, strict=True) if tokens is None]))
    return [next(alone) if tokens is None else tokens for tokens in found]


def encode_targets(
    tokenizer: Any, prompts: Sequence[str], heads: Sequence[Tokens], targets: Sequence[str]
) -> list[Sequence[int]]:
    """Return the tokens of each target behind its prompt, `heads` being the prompts' own tokens.

    Prompt and target are encoded together and parted at the border of tokens. Where there is no such border, or the prompt would
    have other tokens than it has in generation, the target is encoded by itself: so no character of a prompt is ever counted.
    """
    found: list[Sequence[int] | None] = []
    joints = encode(tokenizer, [prompt + target for prompt, target in zip(prompts, targets, strict=True)])
    for prompt, head, joint in zip(prompts, heads, joints, strict=True):
        place = first_target_token(joint.spans, len(prompt))
        clean = place is not None and list(joint.ids[:place]) == list(head.ids)
        found.append(joint.ids[place:] if clean else None)
    alone = iter(encode(tokenizer, [target for target, ids in zip(targets, found, strict=True) if ids is None]))
    return [next(alone).ids if ids is None else ids for ids in found]


def leading_marks(tokenizer: Any) -> list[int]:
    """Return the marks that the tokenizer puts before every text, such as a begin-of-text token; often none."""
    marked = list(tokenizer("A", add_special_tokens=True)["input_ids"])
    plain = list(tokenizer("A", add_special_tokens=False)["input_ids"])
    for place in range(len(marked) - len(plain) + 1):
        if marked[place : place + len(plain)] == plain:
            return marked[:place]
    return []


def end_token(tokenizer: Any) -> int:
    """Return the end-of-text token, which closes each target.

    Raises:
        BackboneError: if the tokenizer has none.
    """
    if tokenizer.eos_token_id is None:
        raise BackboneError(
            "the tokenizer has no end token, so no text could ever end; set eos_token in its tokenizer_config.json"
        )
    return int(tokenizer.eos_token_id)


def flat(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return all rows in one int32 tensor, and the int64 offsets at which each starts, one more than there are rows."""
    lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
    starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    tokens = np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=int(starts[-1]))
    return torch.from_numpy(tokens), torch.from_numpy(starts)


def mask_from(first_targets: Sequence[int], starts: Tensor) -> Tensor:
    """Return bool over all tokens: True from each example's first target to its end."""
    lengths = starts[1:] - starts[:-1]
    place_T = torch.arange(int(starts[-1])) - torch.repeat_interleave(starts[:-1], lengths)
    return place_T >= torch.repeat_interleave(torch.tensor(first_targets, dtype=torch.int64), lengths)


def text_of(example: Example, name: str) -> str:
    """Return one column of an example as text; nothing at all is the empty text.

    Raises:
        DataError: if the example has no such column.
    """
    if name not in example.fields:
        columns = ", ".join(sorted(map(str, example.fields)))
        raise DataError(f"example {example.id} has no column {name!r}, which the task needs; it has {columns}; see data.columns")
    value = example.fields[name]
    if isinstance(value, list | tuple | dict):
        raise DataError(
            f"example {example.id} has a {type(value).__name__} in {name!r}, not a text; turns of a chat need task.chat: true"
        )
    return "" if value is None else str(value)
