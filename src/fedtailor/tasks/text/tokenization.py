"""Prompts and targets as tokens, parted where the tokenizer's own offsets say that the target begins; markers in data are text."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from ...errors import BackboneError, DataError, SettingError
from ...records import Example
from .markers import Markers, Span, Tokens, markers_of

Truncate: TypeAlias = Literal["start", "end", "drop"]
Marks: TypeAlias = tuple[list[int], list[int]]  # a tokenizer's own, before and behind every text


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The text before a target, and which of its characters are the input, the part that may be shortened."""

    text: str
    input: Sequence[Span]  # in order; empty: nothing was recognized, so nothing can be cut
    data: Sequence[Span] | None = None  # in which markers are text, not special tokens; None: all


def encode(
    tokenizer: Any,
    texts: Sequence[str],
    data: Sequence[Sequence[Span] | None] | None = None,
    markers: Markers | None = None,
) -> list[Tokens]:
    """Return the tokens of each text, without the tokenizer's own marks of begin and end.

    Args:
        data: of each text the characters in which markers are text; None: all of them.
        markers: what counts as one, if not the tokenizer's special tokens alone.

    Raises:
        BackboneError: if the tokenizer cannot say which characters a token stands for.
    """
    if not texts:
        return []
    if not getattr(tokenizer, "is_fast", False):
        raise BackboneError(
            f"the tokenizer {type(tokenizer).__name__} cannot say which characters a token stands for, which the label mask "
            "is made of; use a backbone with a tokenizer.json (a fast tokenizer)"
        )
    encoded = tokenizer(
        list(texts), add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False
    )
    markers, found = markers or markers_of(tokenizer), []
    for number, (ids, spans) in enumerate(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)):
        tokens, theirs = Tokens(ids=ids, spans=spans), data[number] if data is not None else None
        if not markers.numbers.isdisjoint(ids) and markers.in_data(texts[number], tokens, theirs):
            tokens = markers.encode(texts[number], tokens, theirs)
        found.append(tokens)
    return found


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


def encode_prompts(tokenizer: Any, prompts: Sequence[Prompt], markers: Markers | None = None) -> list[Tokens]:
    """Return the tokens of each prompt as they are in front of a target, whatever the target.

    A prompt by itself may have other tokens than in front of a text: GPT-2 makes one token of two line breaks at the end, two
    before a letter. So each is encoded before a letter, and by itself only where that letter would melt into the prompt.
    """
    found: list[Tokens | None] = []
    joints = encode(tokenizer, [prompt.text + "A" for prompt in prompts], [prompt.data for prompt in prompts], markers)
    for prompt, joint in zip(prompts, joints, strict=True):
        place = first_target_token(joint.spans, len(prompt.text))
        found.append(None if place is None else Tokens(ids=joint.ids[:place], spans=joint.spans[:place], marked=joint.marked))
    left = [prompt for prompt, tokens in zip(prompts, found, strict=True) if tokens is None]
    alone = iter(encode(tokenizer, [prompt.text for prompt in left], [prompt.data for prompt in left], markers))
    return [next(alone) if tokens is None else tokens for tokens in found]


def encode_targets(
    tokenizer: Any, prompts: Sequence[Prompt], heads: Sequence[Tokens], targets: Sequence[Prompt], markers: Markers | None = None
) -> list[Tokens]:
    """Return the tokens of each target behind its prompt, `heads` being the prompts' own tokens.

    Prompt and target are encoded together and parted at the border of tokens. Where there is no such border, or the prompt would
    have other tokens than it has in generation, the target is encoded by itself: so no character of a prompt is ever counted.
    """
    found: list[Tokens | None] = []
    pairs = list(zip(prompts, targets, strict=True))
    joints = encode(tokenizer, [head.text + tail.text for head, tail in pairs], [_joined(*pair) for pair in pairs], markers)
    for prompt, head, joint in zip(prompts, heads, joints, strict=True):
        place = first_target_token(joint.spans, len(prompt.text))
        clean = place is not None and list(joint.ids[:place]) == list(head.ids)
        found.append(Tokens(ids=joint.ids[place:], spans=joint.spans[place:], marked=joint.marked) if clean else None)
    left = [target for target, tokens in zip(targets, found, strict=True) if tokens is None]
    alone = iter(encode(tokenizer, [target.text for target in left], [target.data for target in left], markers))
    return [next(alone) if tokens is None else tokens for tokens in found]


def _joined(prompt: Prompt, target: Prompt) -> list[Span]:
    """Return which characters of a prompt and its target, one behind the other, are data."""
    begin = len(prompt.text)
    before = [(0, begin)] if prompt.data is None else list(prompt.data)
    behind = [(0, len(target.text))] if target.data is None else target.data
    return [*before, *((first + begin, last + begin) for first, last in behind)]


def leading_marks(tokenizer: Any) -> list[int]:
    """Return the marks that the tokenizer puts before every text, such as a begin-of-text token; often none."""
    return marks_of(tokenizer)[0]


def marks_of(tokenizer: Any) -> Marks:
    """Return the marks that the tokenizer puts before and behind every text."""
    found = tokenizer("A", add_special_tokens=True, return_special_tokens_mask=True)
    ids, own = list(found["input_ids"]), [number for number, mark in enumerate(found["special_tokens_mask"]) if not mark]
    return (ids[: own[0]], ids[own[-1] + 1 :]) if own else ([], [])


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


def shortened(tokens: Tokens, input: Sequence[Span], room: int, truncate: Truncate) -> Sequence[int] | None:
    """Return at most `room` tokens, taken from one end of the input; None if nothing of the input would be left, or nothing may be cut."""
    excess = len(tokens.ids) - room
    if excess <= 0:
        return tokens.ids
    inside = [n for n, (begin, end) in enumerate(tokens.spans) if any(first <= begin < end <= last for first, last in input)]
    if excess >= len(inside) or truncate == "drop":
        return None
    cut = set(inside[:excess] if truncate == "start" else inside[-excess:])
    return [token for number, token in enumerate(tokens.ids) if number not in cut]


def check_truncate(truncate: object) -> None:
    """Raise SettingError unless `truncate` is one of its values."""
    if truncate not in get_args(Truncate):
        raise SettingError(f"truncate is start, end or drop; got {truncate!r}")


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
