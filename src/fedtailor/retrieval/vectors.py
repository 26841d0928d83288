"""Search where clients gave the vectors of all their passages: at the server, without asking anybody."""

from collections.abc import Mapping, Sequence

import numpy as np

from .asking import HIDDEN, Found
from .messages import Catalogue
from .search import Hit


def search_vectors(catalogues: Mapping[str, Catalogue], texts: Sequence[str], vectors_QW: np.ndarray, top_k: int) -> list[Found]:
    """Return which clients hold the passages whose vectors are nearest, and where."""
    owners: list[tuple[str, int]] = []
    blocks = []
    for name in sorted(catalogues):
        block = catalogues[name].vectors
        if block is not None:
            blocks.append(block.numpy().astype(np.float32))
            owners += [(name, row) for row in range(len(blocks[-1]))]
    cosines_QN = vectors_QW @ np.concatenate(blocks).T if blocks else np.zeros((len(texts), 0))
    found = []
    for text, cosines in zip(texts, cosines_QN, strict=True):
        best = np.argsort(-cosines, kind="stable")[:top_k].tolist()
        hits = [
            Hit(
                client=owners[row][0],
                passage=HIDDEN,
                score=float(cosines[row]),
                cosine=float(cosines[row]),
                bm25=0.0,
                place=(-1, owners[row][1]),
            )
            for row in best
        ]
        found.append(Found(question=text, hits=hits, asked=[], candidates=0))
    return found
