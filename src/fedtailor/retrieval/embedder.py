"""What turns a text into a vector, pinned by its hash: vectors of different embedders do not compare."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..models import embed_texts
from ..models.embed import NAME, WIDTH
from ..models.locate import locate
from ..models.pins import pins
from ..models.tokenizer import load_tokenizer
from ..storage import text_sha256
from .passages import Span

LONGEST = 100_000  # characters that are tokenized at once


class Embedder(Protocol):
    """Turns texts into vectors."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def sha256(self) -> str:
        """What pins it: two embedders of one hash give the same vectors."""

    @property
    def width(self) -> int:
        """Numbers of a vector."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return a vector of length 1 for each text, float32 [N, width]."""

    def spans(self, text: str) -> tuple[list[Span], int]:
        """Return which characters each token of a text stands for, and how many tokens the embedder does not know."""


class MiniLm:
    """MiniLM, which is installed as minilm-l6; it reads 256 tokens of English."""

    name = NAME
    width = WIDTH

    @functools.cached_property
    def sha256(self) -> str:
        """Return the hash of its weights, tokenizer and settings."""
        return text_sha256("".join(f"{part} {sha256}\n" for part, sha256 in sorted(pins(locate(NAME, Path())).items())))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return a vector of length 1 for each text, float32 [N, 384]."""
        return embed_texts(texts)

    def spans(self, text: str) -> tuple[list[Span], int]:
        """Return which characters each token of a text stands for, and how many tokens are unknown."""
        found: list[Span] = []
        unknown = 0
        for begin, end in _parts(text):
            row = self._tokenizer(text[begin:end], add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            found += [(begin + first, begin + last) for first, last in row["offset_mapping"]]
            unknown += row["input_ids"].count(self._tokenizer.unk_token_id)
        return found, unknown

    @functools.cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(locate(NAME, Path()).folder)


def _parts(text: str) -> list[Span]:
    """Return parts of a long text, each ended at white space where there is any."""
    found, begin = [], 0
    while len(text) - begin > LONGEST:
        spaces = (text.rfind(sign, begin + 1, begin + LONGEST) for sign in " \n")
        end = max(*spaces, begin + LONGEST // 2)
        found.append((begin, end))
        begin = end
    return [*found, (begin, len(text))]
