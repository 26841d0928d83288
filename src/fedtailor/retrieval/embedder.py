"""What turns a text into a vector, pinned by its hash: vectors of different embedders do not compare."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..models import embed_texts
from ..models.embed import NAME, WIDTH, embed_with, most_tokens_of
from ..models.locate import Location, locate
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
        return folder_sha256(locate(NAME, Path()))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return a vector of length 1 for each text, float32 [N, 384]."""
        return embed_texts(texts)

    def spans(self, text: str) -> tuple[list[Span], int]:
        """Return which characters each token of a text stands for, and how many tokens are unknown."""
        return spans_of(self._tokenizer, text)

    @functools.cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(locate(NAME, Path()).folder)


@dataclass(frozen=True, kw_only=True)
class ModelEmbedder:
    """A backbone that was loaded as an embedder."""

    name: str
    sha256: str  # see `folder_sha256`
    model: Any
    tokenizer: Any
    most_tokens: int  # that it reads of a text

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.model.config.hidden_size)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return a vector of length 1 for each text, float32 [N, width]."""
        return embed_with(self.model, self.tokenizer, texts, most_tokens=self.most_tokens)

    def spans(self, text: str) -> tuple[list[Span], int]:
        """Return which characters each token of a text stands for, and how many tokens are unknown."""
        return spans_of(self.tokenizer, text)


@dataclass(frozen=True, kw_only=False)
class Remembering:
    """An embedder that embeds a text once, for what comes again and again."""

    inner: Embedder
    most: int | None = None  # texts that are remembered, the newest; None: all
    known: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.inner.name

    @property
    def sha256(self) -> str:
        """What pins it."""
        return self.inner.sha256

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return self.inner.width

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return a vector of length 1 for each text, float32 [N, width]."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self.known]
        self.known.update(zip(fresh, self.inner.embed(fresh), strict=True))
        found = np.stack([self.known[text] for text in texts]) if texts else np.zeros((0, self.width), dtype=np.float32)
        if self.most is not None:
            for old in list(islice(self.known, max(0, len(self.known) - self.most))):
                del self.known[old]
        return found

    def spans(self, text: str) -> tuple[list[Span], int]:
        """Return which characters each token of a text stands for, and how many tokens are unknown."""
        return self.inner.spans(text)


def embedder_of(model: Any, tokenizer: Any) -> ModelEmbedder:
    """Return a model as an embedder; its attribute `name_or_path` is the folder that it was loaded from."""
    folder = Path(model.name_or_path)
    place = Location(folder=folder, source="folder")
    most = most_tokens_of(model)
    return ModelEmbedder(name=folder.name, sha256=folder_sha256(place), model=model, tokenizer=tokenizer, most_tokens=most)


def folder_sha256(place: Location) -> str:
    """Return what pins an embedder: the hash of its weights, tokenizer and settings, whatever its folder is called."""
    return text_sha256("".join(f"{part} {sha256}\n" for part, sha256 in sorted(pins(place).items())))


def spans_of(tokenizer: Any, text: str) -> tuple[list[Span], int]:
    """Return which characters each token of a text stands for, and how many tokens are unknown."""
    found: list[Span] = []
    unknown = 0
    for begin, end in _parts(text):
        row = tokenizer(text[begin:end], add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        found += [(begin + first, begin + last) for first, last in row["offset_mapping"]]
        unknown += row["input_ids"].count(tokenizer.unk_token_id)
    return found, unknown


def _parts(text: str) -> list[Span]:
    """Return parts of a long text, each ended at white space where there is any."""
    found, begin = [], 0
    while len(text) - begin > LONGEST:
        spaces = (text.rfind(sign, begin + 1, begin + LONGEST) for sign in " \n")
        end = max(*spaces, begin + LONGEST // 2)
        found.append((begin, end))
        begin = end
    return [*found, (begin, len(text))]
