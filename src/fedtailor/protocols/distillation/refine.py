"""Public rows drawn by what the clients report of themselves: how often they have each label, and how like their own a row looks.

Our own reading of an open question of arXiv:2501.04436 (alignment of public and private data by light feedback of clients). Each row i has the
weight w(i) = r(i) l(c(i)):

    r(i) = mean over clients of s / (1 - s)      s: the client's score of the row, P(own | row) of a classifier of own against public rows, so
                                                 that its odds estimate the ratio of both densities (Bickel et al., 2007, ICML, section 3)
    l(c) = q(c) / u(c)                           q: share of label c in the sum of the clients' noised counts, u: its share among the public rows

Where rows have no label, or clients report none, l is 1. Rows are drawn without replacement, one after the other with chances in proportion to w
(Efraimidis and Spirakis, 2006, Information Processing Letters 97).
"""

import numpy as np

from ...chance import stream
from ...learning.public_fit import STEPS
from .public_set import PublicSet
from .state import Taught

LEAST_COUNT = 1.0  # added to the clients' count of every label: one that noise has taken to nothing may still be drawn


def draw_rows(public: PublicSet, reported: Taught, *, round: int) -> list[int]:
    """Return the public rows of the rounds after `round`, in order; as many as a slice has.

    Args:
        reported: with what clients said of themselves.
    """
    weights_N = row_weights(public, reported)
    keys_N = np.log(weights_N) + stream(public.seed, "refine", round).gumbel(size=len(weights_N))
    return sorted(np.argsort(-keys_N, kind="stable")[: len(public.rows(1))].tolist())


def row_weights(public: PublicSet, reported: Taught) -> np.ndarray:
    """Return the weight of each public row, above 0."""
    weights_N: np.ndarray = likeness(public, reported) * label_ratio(public, reported)
    return weights_N


def likeness(public: PublicSet, reported: Taught) -> np.ndarray:
    """Return r(i): the mean over clients of the odds that a row is theirs; 1 where none has scored."""
    scores = [value.numpy() for value in reported.scores.values()]
    if not scores:
        return np.ones(len(public.shard))
    chances = [(score_N + 0.5) / STEPS for score_N in scores]
    return np.asarray(np.mean([chance_N / (1 - chance_N) for chance_N in chances], axis=0))


def label_ratio(public: PublicSet, reported: Taught) -> np.ndarray:
    """Return l(c(i)): how much more often clients have a row's label than the public set has; 1 for rows without a label."""
    ratio_N, labels_N = np.ones(len(public.shard)), public.shard.labels_N
    counts = [value.numpy() for value in reported.counts.values()]
    known = [] if labels_N is None else labels_N[labels_N >= 0].tolist()
    if labels_N is None or not counts or not known:
        return ratio_N
    there_C = np.bincount(known, minlength=len(counts[0]))
    wanted_C = np.where(there_C > 0, np.sum(counts, axis=0) + LEAST_COUNT, 0.0)  # shares among the labels that can be drawn
    ratio_C = (wanted_C / wanted_C.sum()) / np.where(there_C > 0, there_C / there_C.sum(), 1.0)
    ratio_N[labels_N.numpy() >= 0] = ratio_C[known]
    return ratio_N
