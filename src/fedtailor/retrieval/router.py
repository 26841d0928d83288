"""Which clients hold something near a question: several centroids a client, and a margin.

Several centroids beat one by ten points of recall, a margin beats a fixed number of clients, and a router that was trained on labelled
questions did not beat either (RAGRoute, arXiv:2502.19280, trains one). Where passages are dealt at random no router saves anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..chance import stream_seed
from ..errors import SettingError
from ..limits import Few, Number

SMALLEST = 5  # passages of a group; the centroid of fewer shows single documents


@dataclass(frozen=True, kw_only=True)
class Centroids:
    """What a client reports of its passages' vectors."""

    vectors: np.ndarray  # float16 [C, W], of length 1; none if the client has too few passages: it is always asked
    sizes: Sequence[int]  # passages of each group


@dataclass(frozen=True, kw_only=True)
class Routing:
    """Which clients are asked: those that hold something near the question."""

    centroids: Mapping[str, Centroids]
    margin: float = 0.2  # a client is asked if its nearest centroid's cosine is at most this much below the best client's

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 2:
            raise SettingError(f"router.margin is a difference of cosines, from 0 to 2; got {self.margin!r}")


@dataclass(frozen=True, kw_only=True)
class Router:
    """How clients are chosen: by the centroids of their passages."""

    kind: Literal["centroids"] = "centroids"
    count: Few = 16  # centroids of a client
    margin: Number = 0.2  # a client is asked if its nearest centroid's cosine is at most this much below the best client's
    smallest: Few = SMALLEST  # passages of a centroid, at least; one of fewer shows single documents

    def __post_init__(self) -> None:
        if self.count < 1:
            raise SettingError(f"router.count is the number of centroids, at least 1; got {self.count!r}")
        if self.smallest < 1:
            raise SettingError(f"router.smallest is a number of passages, at least 1; got {self.smallest!r}")
        Routing(centroids={}, margin=self.margin)

    def over(self, clients: Mapping[str, Any], *, seed: int = 0) -> Routing:
        """Return which of these clients' indexes are asked.

        Raises:
            SettingError: if there is but one.
        """
        if len(clients) < 2:
            raise SettingError("router chooses among clients, and there is but one; leave it out")
        centroids = {
            name: find_centroids(index.vectors, self.count, seed=seed, smallest=self.smallest) for name, index in clients.items()
        }
        return Routing(centroids=centroids, margin=self.margin)


def find_centroids(vectors: np.ndarray, count: Few = 16, *, seed: int = 0, smallest: int = SMALLEST) -> Centroids:
    """Return the mean directions of groups of passages.

    Groups of fewer than `smallest` passages are joined to the nearest larger one.

    Args:
        vectors: float32 [N, W], of length 1.

    Raises:
        SettingError: if `count` is no whole number above 0.
    """
    if count < 1:
        raise SettingError(f"router.count is the number of centroids, at least 1; got {count!r}")
    if len(vectors) < smallest:
        return Centroids(vectors=np.zeros((0, vectors.shape[1]), dtype=np.float16), sizes=[])
    from sklearn.cluster import KMeans

    groups = min(count, len(vectors) // smallest)
    draw = stream_seed(seed, "centroids") % 2**32
    fitted = KMeans(n_clusters=groups, n_init=1, random_state=draw).fit(np.asarray(vectors, dtype=np.float64))
    numbers = np.asarray(fitted.labels_)
    large = [group for group in range(groups) if (numbers == group).sum() >= smallest] or [int(np.bincount(numbers).argmax())]
    nearest = np.asarray(vectors @ fitted.cluster_centers_[large].T.astype(np.float32)).argmax(axis=1)
    joined = [np.isin(numbers, [group]) | (~np.isin(numbers, large) & (nearest == place)) for place, group in enumerate(large)]
    means = np.stack([vectors[rows].mean(axis=0) for rows in joined])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return Centroids(vectors=means.astype(np.float16), sizes=[int(rows.sum()) for rows in joined])


def choose_clients(centroids: Mapping[str, Centroids], questions: np.ndarray, margin: float) -> list[set[str]]:
    """Return the clients to ask each question: those whose best cosine is at most `margin` below the best of all.

    Args:
        questions: float32 [Q, W], of length 1.
    """
    names = [name for name in sorted(centroids) if len(centroids[name].vectors)]
    always = set(centroids) - set(names)
    if not names:
        return [set(always) for _ in questions]
    best_QK = np.stack([(questions @ centroids[name].vectors.astype(np.float32).T).max(axis=1) for name in names], axis=1)
    near_QK = best_QK >= best_QK.max(axis=1, keepdims=True) - margin
    return [always | {names[place] for place in np.flatnonzero(row)} for row in near_QK]
