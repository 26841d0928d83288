"""Documents cut into passages that an embedder can read whole: by tokens, ended at sentences, with some overlap.

Text beyond an embedder's limit would be lost silently: 71 % of PubMedQA's abstracts are longer than the 256 tokens of MiniLM.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..errors import SettingError
from ..limits import Length
from .documents import Document

LONGEST_TOKEN = 200  # characters; MiniLM makes one token of any run of letters, however long
Span = tuple[int, int]
SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|[。！？]|\n\s*\n|\n(?=[#*\-•|])")


@dataclass(frozen=True, kw_only=True)
class Chunks:
    """How documents are cut."""

    tokens: Length = 200  # most tokens of a passage
    overlap: Length = 40  # tokens that a passage shares with the one before, less where a sentence begins later

    def __post_init__(self) -> None:
        if not 8 <= self.tokens <= 100_000:
            raise SettingError(f"chunk.tokens is from 8 to 100000; got {self.tokens!r}")
        if not 0 <= self.overlap <= self.tokens // 2:
            raise SettingError(f"chunk.overlap is from 0 to half of chunk.tokens ({self.tokens // 2}); got {self.overlap!r}")


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A part of a document that is found, shown and cited as a whole."""

    id: str  # one of its own within a client: "notes.md#0", of a row "rows.parquet:p17#0"
    file: str  # name of the file that the document came from
    document: str  # id of the document
    title: str
    page: int  # from 1; 0 where there are no pages
    begin: int  # characters of the document
    end: int
    text: str


def cut(document: Document, file: str, chunks: Chunks, spans: Sequence[Span]) -> list[Passage]:
    """Return the passages of a document, in order; together they hold every character but white space.

    Args:
        spans: which characters each token of the text stands for.
    """
    text, whole = document.text, file if document.id == file else f"{file}:{document.id}"
    found: list[Passage] = []
    for first, end in windows(text, spans, chunks):
        body = text[first:end].strip()
        if not body:
            continue
        begin = text.index(body, first)
        passage = Passage(
            id=f"{whole}#{len(found)}",
            file=file,
            document=document.id,
            title=document.title,
            page=document.page_at(begin),
            begin=begin,
            end=begin + len(body),
            text=body,
        )
        found.append(passage)
    return found


def windows(text: str, spans: Sequence[Span], chunks: Chunks) -> list[Span]:
    """Return where passages begin and end, in characters: a window of tokens each, cut back to the last end of a sentence in its second half."""
    spans = _short(spans)
    if len(spans) <= chunks.tokens:
        return [(0, len(text))]
    ends = _sentence_tokens(text, spans)
    found: list[Span] = []
    first = 0
    while True:
        last = first + chunks.tokens
        if last >= len(spans):
            found.append((spans[first][0] if first else 0, len(text)))
            return found
        stop = max((end for end in _between(ends, first + chunks.tokens // 2, last)), default=last)
        found.append((spans[first][0] if first else 0, spans[stop][0]))
        overlapping = stop - chunks.overlap
        first = min((end for end in _between(ends, max(first, overlapping - 1), stop)), default=max(first + 1, overlapping))


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, without white space around them."""
    borders = [0, *(match.end() for match in SENTENCE_END.finditer(text)), len(text)]
    parts = (" ".join(text[begin:end].split()) for begin, end in pairwise(borders))
    return [part for part in parts if part]


def _short(spans: Sequence[Span]) -> list[Span]:
    """Return the spans, long ones cut into pieces."""
    return [(at, min(at + LONGEST_TOKEN, end)) for begin, end in spans if end > begin for at in range(begin, end, LONGEST_TOKEN)]


def _sentence_tokens(text: str, spans: Sequence[Span]) -> list[int]:
    """Return the numbers of the tokens that begin a sentence, in order, but the first."""
    found: list[int] = []
    token = 0
    for match in SENTENCE_END.finditer(text):
        while token < len(spans) and spans[token][0] < match.end():
            token += 1
        if 0 < token < len(spans) and (not found or found[-1] < token):
            found.append(token)
    return found


def _between(ends: Sequence[int], above: int, most: int) -> Sequence[int]:
    """Return the sentence starts that are greater than `above` and at most `most`."""
    return ends[bisect_right(ends, above) : bisect_right(ends, most)]
