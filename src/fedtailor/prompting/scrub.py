"""A critique without what it repeats of a client's examples: it leaves the client, and they do not."""

import re
from collections.abc import Iterable

RUN = 5  # words in a row that occur in an example are cut; of an example of 2 to 4 words, all of them
MOST_CUT = 1 / 3  # of a critique's words; of one that loses more nothing is left
MOST_CHARACTERS = 600
WORD = re.compile(r"\w+(?:[-'’]\w+)*")
PRIVATE = (
    re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),  # e-mail
    re.compile(r"(?:https?://|www\.)\S+"),
    re.compile(r"\+?\d[\d \-/.]{2,}\d"),  # numbers of four digits and more, of telephones and accounts
    re.compile(r"\b[A-ZÀ-Þ][\w'’]+(?:\s+[A-ZÀ-Þ][\w'’]+)+"),  # two capitalized words in a row: a name
)
CUT = "[…]"


def scrub(critique: str, examples: Iterable[str]) -> str:
    """Return a critique in which runs of words of the examples, numbers, addresses and names are cut; "" if that is more than a third of it.

    What it says of them in other words remains.
    """
    words = list(WORD.finditer(critique))
    if not words:
        return ""
    known = {run for own in map(_lower, examples) for run in _runs(own, min(RUN, len(own))) if len(run) > 1}
    lowered = [word.group().lower() for word in words]
    spans = [
        (words[at].start(), words[at + length - 1].end())
        for length in range(2, RUN + 1)
        for at, run in enumerate(_runs(lowered, length))
        if run in known
    ]
    spans += [match.span() for pattern in PRIVATE for match in pattern.finditer(critique)]
    gone = sum(any(begin < word.end() and word.start() < end for begin, end in spans) for word in words)
    if gone > MOST_CUT * len(words):
        return ""
    text, last = "", 0
    for begin, end in sorted(spans):
        if end > last:
            text += critique[last:begin] + CUT if begin >= last else ""
            last = end
    text = " ".join((text + critique[last:]).split())
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS].rsplit(" ", 1)[0]


def _lower(text: str) -> list[str]:
    return [word.lower() for word in WORD.findall(text)]


def _runs(words: list[str], length: int) -> list[tuple[str, ...]]:
    """Return all runs of so many words, in order."""
    return [tuple(words[at : at + length]) for at in range(len(words) - length + 1)]
