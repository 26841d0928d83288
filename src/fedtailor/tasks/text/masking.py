"""The markers of a conversation under stand-ins, while a chat template works on it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .markers import Markers, Span, free_base, markers_of, stand_in, templates_in
from .talk import Talk, Turn


class Masked:
    """A conversation whose markers are under stand-ins while the template works, so that they are known from the template's own.

    What an assistant says may hold its own markers, such as <think>, but no special tokens.
    """

    def __init__(self, talk: Talk, tokenizer: Any) -> None:
        texts = list(_texts([talk.before, talk.answer, talk.tools or []]))
        self._all, self._special = markers_of(tokenizer, templates_in(tokenizer)), markers_of(tokenizer)
        self._base = free_base("".join(texts))
        self._numbers = {name: place for place, name in enumerate(self._all.names.values())}
        self._found: dict[str, str] = {}  # stand-in -> marker
        self.talk = talk
        if any(self._all.pattern.search(text) for text in texts):
            tools = None if talk.tools is None else self._mask(talk.tools, self._all)
            self.talk = Talk(
                id=talk.id, before=[self._turn(turn) for turn in talk.before], answer=self._turn(talk.answer), tools=tools
            )

    def _turn(self, turn: Turn) -> Turn:
        markers = self._special if turn.get("role") == "assistant" else self._all
        return {name: self._mask(value, markers) for name, value in turn.items()}

    def _mask(self, value: Any, markers: Markers) -> Any:
        if isinstance(value, str):
            return markers.pattern.sub(self._put, value)
        if isinstance(value, Mapping):
            return {self._mask(name, markers): self._mask(one, markers) for name, one in value.items()}
        return [self._mask(one, markers) for one in value] if isinstance(value, list | tuple) else value

    def _put(self, match: re.Match[str]) -> str:
        name = match.group()
        put = stand_in(self._base, self._numbers[name], len(name))
        self._found[put] = name
        return put

    def unmask(self, text: str) -> tuple[str, list[Span]]:
        """Return the text with its markers, and where these stand."""
        spans: list[Span] = []
        for put, name in self._found.items():
            begin = text.find(put)
            while begin >= 0:
                spans.append((begin, begin + len(put)))
                text = text[:begin] + name + text[begin + len(put) :]
                begin = text.find(put, begin + len(put))
        return text, sorted(spans)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from _texts(name)
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
