"""Markers inside data are text: the spelling of a special token in somebody's data is encoded as any other characters are.

A tokenizer takes `<|im_end|>` for the token of that name wherever it stands, in a ticket that quotes it as in a template that means
it. So each text comes with the spans of its characters that are data. Where a special token reaches into one, the text is encoded once
more by a second tokenizer, which is the first with its special tokens under other names: stand-ins of as many characters, which nobody
writes. What the template means is put under its stand-in; what the data say is then characters like all others, and offsets stay.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ...errors import BackboneError, DataError

Span = tuple[int, int]  # first character and the one behind the last
BASES = (
    0xF0000,
    0xF8000,
    0x100000,
    0x108000,
)  # of private characters, by half planes: the first that a text does not use is taken
BYTE = re.compile("<0x[0-9A-F]{2}>")  # of which characters are made that a tokenizer does not know; some declare them special
SIZE = 0x7FFD  # of a half plane, without what is no character at its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Tokens of one text, each with the characters it stands for."""

    ids: Sequence[int]
    spans: Sequence[Span]
    marked: bool = False  # whether markers in data were kept from becoming special tokens


@dataclass(eq=False)
class Markers:
    """The special tokens of a tokenizer by their numbers, and how a text is encoded in which some of them are data."""

    names: Mapping[int, str]
    inner: Any  # of `tokenizers`
    renamed: dict[int, tuple[Any, dict[int, int]]] = field(default_factory=dict)  # base -> second tokenizer, its numbers -> ours

    @cached_property
    def numbers(self) -> frozenset[int]:
        """All numbers, to find out quickly that a text has none of them."""
        return frozenset(self.names)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What finds a marker in a text; of two at one character the longer."""
        longest_first = sorted(self.names.values(), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def in_data(self, text: str, tokens: Tokens, data: Sequence[Span] | None) -> list[Span]:
        """Return the spans of special tokens that reach into `data`; None: the whole text is data."""
        return [span for _, span in self._found(text, tokens) if _reaches(text, span, data)]

    def encode(self, text: str, tokens: Tokens, data: Sequence[Span] | None) -> Tokens:
        """Return the tokens of a text in which those special tokens that reach into data are characters.

        Args:
            tokens: of the text as the tokenizer itself encodes it.

        Raises:
            BackboneError: if there can be no second tokenizer.
        """
        base = free_base(text)
        second, numbers = self._second(base)
        places = {number: place for place, number in enumerate(self.names)}
        renamed = list(text)
        for number, span in self._found(text, tokens):
            name = self.names[number]
            at = text.find(name, *span)
            if at >= 0 and not _reaches(text, span, data):
                renamed[at : at + len(name)] = stand_in(base, places[number], len(name))
        found = second.encode("".join(renamed), add_special_tokens=False)
        return Tokens(ids=[numbers.get(number, number) for number in found.ids], spans=found.offsets, marked=True)

    def _found(self, text: str, tokens: Tokens) -> Iterator[tuple[int, Span]]:
        """Yield the special tokens that are spelled out in the text; the token for unknown characters stands for others too."""
        for number, span in zip(tokens.ids, tokens.spans, strict=True):
            if number in self.names and self.names[number] in self._spellings(text[slice(*span)]):
                yield number, span

    def _spellings(self, text: str) -> set[str]:
        normalizer = self.inner.normalizer
        normal = text if normalizer is None else normalizer.normalize_str(text)
        return {text.strip(), normal.replace("▁", " ").strip()}

    def _second(self, base: int) -> tuple[Any, dict[int, int]]:
        if base not in self.renamed:
            self.renamed[base] = _renamed(self.inner, self.names, base)
        return self.renamed[base]


def markers_of(tokenizer: Any, template: str = "") -> Markers:
    """Return the tokenizer's special tokens, and those of its other added tokens that a chat template writes; made once."""
    kept: dict[str, Markers] = vars(tokenizer).setdefault("fedtailor_markers", {})
    if template not in kept:
        added = tokenizer.added_tokens_decoder
        names = {
            int(number): token.content
            for number, token in added.items()
            if token.content.strip()
            and not BYTE.fullmatch(token.content)
            and (token.special or (_is_marker(token.content) and token.content in template))
        }
        kept[template] = Markers(names=names, inner=tokenizer.backend_tokenizer)
    return kept[template]


def templates_in(tokenizer: Any) -> str:
    """Return the text of all chat templates that may be used, one behind the other."""
    return (tokenizer.chat_template or "") + (vars(tokenizer).get("fedtailor_tool_template") or "")


def _is_marker(name: str) -> bool:
    """Return whether an added token looks like `<tool_call>`, not like a word that some tokenizers add."""
    return not name[0].isalnum() and not name[-1].isalnum()


def stand_in(base: int, place: int, length: int) -> str:
    """Return as many private characters as the marker number `place` has."""
    return chr(base + place) * length


def free_base(text: str) -> int:
    """Return where private characters begin that the text does not hold.

    Raises:
        DataError: if it holds some of every kind.
    """
    if text.isascii() or max(text) < chr(BASES[0]):
        return BASES[0]
    for base in BASES:
        if not any(base <= ord(sign) < base + SIZE for sign in text):
            return base
    raise DataError("a text holds private characters (U+F0000 and above) of every range, which no tokenizer knows; take them out")


def _reaches(text: str, span: Span, data: Sequence[Span] | None) -> bool:
    """Return whether a token's characters, but for white space, are data in part."""
    begin, end = span
    if data is None:
        return True
    return any(text[max(begin, first) : min(end, last)].strip() for first, last in data if first < end and begin < last)


def _renamed(inner: Any, names: Mapping[int, str], base: int) -> tuple[Any, dict[int, int]]:
    """Return a tokenizer with its special tokens under the names of their stand-ins, and its numbers of these -> those of `inner`."""
    from tokenizers import Tokenizer

    known = {name: stand_in(base, place, len(name)) for place, name in enumerate(names.values())}
    described = json.loads(inner.to_str())
    described |= {"truncation": None, "padding": None}
    for token in described["added_tokens"]:
        if token["content"] in known:
            token |= {"content": known[token["content"]], "special": True, "normalized": False}
    _rename_words(described["model"], known.get)
    try:
        second = Tokenizer.from_str(json.dumps(described))
    except Exception as fault:  # tokenizers raises no kinds of its own
        raise BackboneError(
            f"the tokenizer takes markers such as {next(iter(known))!r} in data for its own, and none can be made that does not ({fault}); take "
            "them out of the data, or choose another backbone"
        ) from fault
    return second, {int(second.token_to_id(known[name]) or 0): number for number, name in names.items()}


def _rename_words(model: dict[str, Any], known: Callable[[str], str | None]) -> None:
    """Rename special tokens among a model's own words, as which plain text would reach them."""
    words = model.get("vocab")
    if isinstance(words, dict):
        model["vocab"] = {known(word) or word: number for word, number in words.items()}
    elif isinstance(words, list):
        model["vocab"] = [[known(word) or word, score] for word, score in words]
    if isinstance(unknown := model.get("unk_token"), str):
        model["unk_token"] = known(unknown) or unknown
    if isinstance(merges := model.get("merges"), list):
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in merges]
        model["merges"] = [one for one, pair in zip(merges, pairs, strict=True) if known("".join(pair)) is None]
