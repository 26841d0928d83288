"""How near sets of pictures are to each other, by features of a network that knows pictures: distances, and who is covered by whom.

Features are float arrays [N, D]; which network they come from decides what the figures mean, so they are compared within one network and, the
Fréchet distance being biased, at one number of pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# N real pictures, M made ones, D features


def frechet_distance(real_ND: np.ndarray, made_MD: np.ndarray) -> float:
    """Return the squared Fréchet distance of two normal distributions with the means and covariances of the features; 0: alike.

    Source: Heusel et al., 2017, arXiv:1706.08500, equation 6: |m - m'|² + tr(C + C' - 2 (C C')^½). The trace of the root is that of
    (C^½ C' C^½)^½, which is symmetric, by two eigendecompositions in float64.
    """
    real, made = (np.asarray(features, dtype=np.float64) for features in (real_ND, made_MD))
    between = real.mean(0) - made.mean(0)
    one, other = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (real, made))
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    crossed = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(0)).sum()
    return float(between @ between + np.trace(one) + np.trace(other) - 2 * crossed)


def kernel_distance(real_ND: np.ndarray, made_MD: np.ndarray) -> float:
    """Return the unbiased squared maximum mean discrepancy under the kernel (x·y / D + 1)³; it may be below 0 where sets are alike.

    Source: Bińkowski et al., 2018, arXiv:1801.01401, section 4 and its appendix; over all pictures, where the paper draws blocks of them.
    """
    real, made = (np.asarray(features, dtype=np.float64) for features in (real_ND, made_MD))

    def kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        found: np.ndarray = (left @ right.T / left.shape[1] + 1) ** 3
        return found

    def within(features: np.ndarray) -> float:
        whole = kernel(features, features)
        return float((whole.sum() - np.trace(whole)) / (len(whole) * (len(whole) - 1)))

    return within(real) + within(made) - 2 * float(kernel(real, made).mean())


@dataclass(frozen=True, kw_only=True)
class Cover:
    """Who lies among whose nearest neighbours, shares from 0 to 1."""

    precision: float  # of the made pictures, those within the reach of a real one
    recall: float  # of the real pictures, those within the reach of a made one: near 0 where a model makes few pictures again and again
    coverage: float  # of the real pictures, those with a made one within their reach


def cover(real_ND: np.ndarray, made_MD: np.ndarray, *, neighbours: int = 3) -> Cover:
    """Return precision and recall (Kynkäänniemi et al., 2019, arXiv:1904.06991) and coverage (Naeem et al., 2020, arXiv:2002.09797).

    The reach of a picture is the distance to the `neighbours`-th nearest other one of its own set.
    """
    real, made = (np.asarray(features, dtype=np.float64) for features in (real_ND, made_MD))
    apart_NM = _distances(real, made)
    of_real_N, of_made_M = (_reach(features, neighbours) for features in (real, made))
    in_reach_NM = apart_NM <= of_real_N[:, None]
    return Cover(
        precision=float(in_reach_NM.any(0).mean()),
        recall=float((apart_NM <= of_made_M[None, :]).any(1).mean()),
        coverage=float(in_reach_NM.any(1).mean()),
    )


def nearest(made_MD: np.ndarray, others_ND: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance of each made picture to the nearest of the others [M]."""
    found: np.ndarray = np.sqrt(_distances(*(np.asarray(features, dtype=np.float64) for features in (made_MD, others_ND))).min(1))
    return found


def collapsed(real: Sequence[np.ndarray], made_MD: np.ndarray, *, neighbours: int = 3) -> bool:
    """Return whether a model makes the same few pictures again and again: its recall is below a quarter of that of real pictures.

    Args:
        real: two sets of real pictures, each as many as are made: one stands for what is to be covered, the other for a perfect model.
    """
    wanted, perfect = real
    return cover(wanted, made_MD, neighbours=neighbours).recall < cover(wanted, perfect, neighbours=neighbours).recall / 4


def _distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return squared Euclidean distances [len(left), len(right)]."""
    found: np.ndarray = (left**2).sum(1)[:, None] + (right**2).sum(1)[None, :] - 2 * left @ right.T
    return found.clip(0)


def _reach(features: np.ndarray, neighbours: int) -> np.ndarray:
    """Return the squared distance of each picture to its `neighbours`-th nearest other one."""
    apart = _distances(features, features)
    np.fill_diagonal(apart, np.inf)
    found: np.ndarray = np.partition(apart, neighbours - 1, axis=1)[:, neighbours - 1]
    return found
