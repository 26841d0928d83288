"""What clients said of their passages, held against the passages: a client that states a cosine that its text does not have is named.

Answers Routing Hijacking (arXiv:2605.28112), in which a client attracts questions by a forged profile: encryption and robust rules do not
help there, evidence that is looked at does. The share of BM25 cannot be computed without a client's counts; it is held to its bound.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from .asking import Found
from .embedder import Embedder
from .index import plain
from .search import Score
from .terms import K1, words_of

TOLERANCE = 0.01  # of a cosine; the same text in bfloat16 is off by 0.004


@dataclass(frozen=True, kw_only=True)
class Verified:
    """An answer whose scores are the server's own."""

    found: Found  # ordered by the scores as they are
    lies: Mapping[str, int]  # client -> passages whose cosine is not what it said


def verify(
    found: Found,
    vector: np.ndarray,
    embedder: Embedder,
    score: Score,
    sizes: Mapping[str, int],
    *,
    sent: np.ndarray | None = None,
    apart: Collection[str] = (),
) -> Verified:
    """Return an answer ordered by scores that the server has computed from the texts.

    Args:
        vector: of the question, float32 [W]; hits are ordered by their cosines with it.
        sizes: passages of each client, which bound a word's weight.
        sent: the vector that clients got, with noise where that was asked for: what they stated is held against it. None: `vector`.
        apart: clients of other embedders, whose cosines are no lies.
    """
    if not found.hits:
        return Verified(found=found, lies={})
    vectors = embedder.embed([plain(hit.passage.text) for hit in found.hits]).astype(np.float64)
    cosines, stated = vectors @ vector.astype(np.float64), vectors @ (vector if sent is None else sent).astype(np.float64)
    lies: Counter[str] = Counter()
    hits = []
    for hit, cosine, due in zip(found.hits, cosines, stated, strict=True):
        if hit.client not in apart and not abs(hit.cosine - due) <= TOLERANCE:  # also where it is no number
            lies[hit.client] += 1
        words = (
            min(max(hit.bm25, 0.0), most_bm25(found.question, hit.passage.text, sizes[hit.client]))
            if np.isfinite(hit.bm25)
            else 0.0
        )
        hits.append(replace(hit, cosine=float(cosine), bm25=words, score=score.total(float(cosine), words)))
    hits.sort(key=lambda hit: (-hit.score, hit.passage.id, hit.client))
    notes = [
        f"client {client} stated a cosine that {count} of its passages do not have; they are ordered by the right one"
        for client, count in sorted(lies.items())
    ]
    return Verified(found=replace(found, hits=hits, notes=[*found.notes, *notes]), lies=lies)


def most_bm25(question: str, text: str, passages: int) -> float:
    """Return the largest BM25 score that a text can have: each word that it shares with the question, as rare as can be."""
    shared = set(words_of(question)) & set(words_of(text))
    rarest = float(np.log1p((passages - 1 + 0.5) / 1.5))
    return len(shared) * rarest * (K1 + 1)
