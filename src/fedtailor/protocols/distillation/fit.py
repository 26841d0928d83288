"""How well the public set fits the clients' data, by what they said of it in a run."""

from typing import Any

import numpy as np

from ...learning.public_fit import STEPS
from .public_set import PublicSet
from .state import Taught


def public_figures(public: PublicSet, kept: Taught) -> dict[str, Any]:
    """Return the size of the public set, and how well it fits; `kept` is what the server keeps."""
    return {
        "examples": len(public.shard),
        "labelled": public.labelled,
        "a_round": len(public.rows(1)),
        "places_a_round": public.mean_places,
        **_fit(public, kept),
        **_refined(public, kept),
    }


def _fit(public: PublicSet, kept: Taught) -> dict[str, Any]:
    """Return what clients reported of how well the public set fits: the score of each and its mean, and the distance of label counts."""
    scores = {client: value.item() for client, value in kept.fits.items()}
    found: dict[str, Any] = {}
    if scores:
        found["told_apart"] = {"mean": float(np.mean(list(scores.values()))), "clients": scores}
    if kept.counts:
        found["label_counts"] = {client: value.tolist() for client, value in kept.counts.items()}
        found["labels_unlike"] = _unlike(public, np.sum([value.numpy() for value in kept.counts.values()], axis=0))
    return found


def _refined(public: PublicSet, kept: Taught) -> dict[str, Any]:
    """Return how like the clients' own the rows look that were drawn last, beside all public ones: mean scores, 0.5 is even."""
    scores = [value.numpy() for value in kept.scores.values()]
    if not scores or kept.now is None:
        return {}
    score_N = (np.mean(scores, axis=0) + 0.5) / STEPS
    drawn = public.rows(1, kept.now)
    return {"refined": {"score": float(score_N[drawn].mean()), "score_of_all": float(score_N.mean()), "scored_by": len(scores)}}


def _unlike(public: PublicSet, counts_C: np.ndarray) -> float | None:
    """Return the Jensen-Shannon divergence, in bits, of the clients' labels from those of the public set: 0 alike, 1 disjoint."""
    labels_N = public.shard.labels_N
    assert labels_N is not None
    known = labels_N[labels_N >= 0].numpy()
    if not len(known) or not counts_C.sum():
        return None
    shares = [counts_C / counts_C.sum(), np.bincount(known, minlength=len(counts_C)) / len(known)]
    mean = sum(shares) / 2
    return float(sum(_bits(share, mean) for share in shares) / 2)


def _bits(share_C: np.ndarray, other_C: np.ndarray) -> float:
    """Return KL(share || other) in bits."""
    here = share_C > 0
    return float((share_C[here] * np.log2(share_C[here] / other_C[here])).sum())
