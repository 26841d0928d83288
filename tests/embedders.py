"""An embedder for tests: words hashed to directions, so that texts which share words lie close."""

import hashlib
import re

import numpy as np

from fedtailor.retrieval.documents import Document, Reading, SourceFile


class Hashed:
    """Sums a random direction for each word; counts what it embeds."""

    name = "hashed"
    width = 32

    def __init__(self, salt="a"):
        self.salt = salt
        self.sha256 = hashlib.sha256(salt.encode()).hexdigest()
        self.embedded = []

    def embed(self, texts):
        self.embedded += texts
        found = np.array(
            [sum(map(self._direction, re.findall(r"\w+", text.lower())), np.full(self.width, 1e-3)) for text in texts]
        )
        found = found.reshape(len(texts), self.width)
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    def _direction(self, word):
        seed = int.from_bytes(hashlib.sha256(f"{self.salt} {word}".encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(self.width)

    def spans(self, text):
        found = [match.span() for match in re.finditer(r"\S+", text)]
        return found, sum("早" in text[begin:end] for begin, end in found)


def source(name, *texts, sha256=None, notes=()):
    """Return a file of one document for each text."""
    documents = [Document(id=name if len(texts) == 1 else str(n), title=name, text=text) for n, text in enumerate(texts)]
    content = "\0".join(texts)
    known = hashlib.sha256(content.encode()).hexdigest() if sha256 is None else sha256
    return SourceFile(name=name, sha256=known, read=lambda: Reading(documents=documents, notes=notes))
