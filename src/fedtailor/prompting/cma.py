"""CMA-ES as plain numpy whose whole state is arrays and numbers.

Source: Hansen, 2016, arXiv:1604.00772, the (mu/mu_w, lambda)-CMA-ES, equations 5 to 47 with the defaults of table 1. Differences: positive
weights alone (negative weights of active CMA are left out), and the covariance is decomposed after every generation. Diagonal covariance:
Ros and Hansen, 2008, "A simple modification in CMA-ES achieving linear time and space complexity", with learning rates (n + 2) / 3 as large.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import SettingError

Array = NDArray[np.float64]
Covariance: TypeAlias = Literal["full", "diagonal", "none"]  # none: the step size alone is adapted


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """Constants of a search in `dimensions` dimensions with `population` candidates a generation."""

    dimensions: int
    population: int
    covariance: Covariance = "full"

    def __post_init__(self) -> None:
        if self.dimensions < 1 or self.population < 4:
            raise SettingError(f"CMA-ES needs dimensions >= 1 and population >= 4; got {self.dimensions} and {self.population}.")

    @property
    def weights(self) -> Array:
        """Return the weights of the best half, which sum to 1."""
        parents = self.population // 2
        raw = math.log((self.population + 1) / 2) - np.log(np.arange(1, parents + 1))
        return np.asarray(raw / raw.sum(), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """The distribution that candidates are drawn from."""

    mean: Array  # [n]
    sigma: float  # step size
    covariance: Array  # [n, n]
    path_c: Array  # [n]
    path_sigma: Array  # [n]
    axes: Array  # [n, n], eigenvectors of the covariance as columns
    scales: Array  # [n], square roots of its eigenvalues
    generation: int = 0


def start(mean: Array, sigma: float) -> Cloud:
    """Return the round cloud of standard deviation `sigma` about `mean`."""
    size = len(mean)
    zero, one = np.zeros(size), np.eye(size)
    return Cloud(mean=mean.copy(), sigma=sigma, covariance=one, path_c=zero, path_sigma=zero, axes=one, scales=np.ones(size))


def ask(cloud: Cloud, strategy: Strategy, rng: np.random.Generator) -> Array:
    """Return the candidates of a generation, [population, n]."""
    normal = rng.standard_normal((strategy.population, strategy.dimensions))
    return np.asarray(cloud.mean + cloud.sigma * (normal * cloud.scales) @ cloud.axes.T)


def tell(cloud: Cloud, strategy: Strategy, candidates: Array, losses: Sequence[float]) -> Cloud:
    """Return the cloud after a generation; lower losses are better, and a loss that is no number is the worst."""
    n, w = strategy.dimensions, strategy.weights
    mueff = 1 / float((w**2).sum())
    cs = (mueff + 2) / (n + mueff + 5)
    ds = 1 + 2 * max(0.0, math.sqrt((mueff - 1) / (n + 1)) - 1) + cs
    cc = (4 + mueff / n) / (n + 4 + 2 * mueff / n)
    faster = (n + 2) / 3 if strategy.covariance == "diagonal" else 1.0
    c1 = min(1.0, faster * 2 / ((n + 1.3) ** 2 + mueff))
    cmu = min(1 - c1, faster * 2 * (mueff - 2 + 1 / mueff) / ((n + 2) ** 2 + mueff))
    expected = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n))  # length of a standard normal vector

    order = np.argsort(np.nan_to_num(np.asarray(losses, dtype=np.float64), nan=np.inf), kind="stable")[: len(w)]
    steps = (candidates[order] - cloud.mean) / cloud.sigma
    step = w @ steps
    whitened = cloud.axes @ ((cloud.axes.T @ step) / cloud.scales)
    path_sigma = (1 - cs) * cloud.path_sigma + math.sqrt(cs * (2 - cs) * mueff) * whitened
    length = float(np.linalg.norm(path_sigma))
    still = length / math.sqrt(1 - (1 - cs) ** (2 * (cloud.generation + 1))) < (1.4 + 2 / (n + 1)) * expected
    path_c = (1 - cc) * cloud.path_c + still * math.sqrt(cc * (2 - cc) * mueff) * step
    keep = 1 - c1 - cmu + (not still) * c1 * cc * (2 - cc)
    covariance = keep * cloud.covariance + c1 * np.outer(path_c, path_c) + cmu * (steps.T * w) @ steps
    covariance, values, axes = _decomposed(covariance, cloud, strategy)
    return Cloud(
        mean=cloud.mean + cloud.sigma * step,
        sigma=cloud.sigma * math.exp(min(1.0, cs / ds * (length / expected - 1))),
        covariance=covariance,
        path_c=path_c,
        path_sigma=path_sigma,
        axes=axes,
        scales=np.sqrt(np.maximum(values, 1e-20)),
        generation=cloud.generation + 1,
    )


def _decomposed(covariance: Array, cloud: Cloud, strategy: Strategy) -> tuple[Array, Array, Array]:
    """Return the covariance as far as it is learned, its eigenvalues, and its eigenvectors as columns."""
    if strategy.covariance == "none":
        return cloud.covariance, cloud.scales**2, cloud.axes
    if strategy.covariance == "diagonal":
        values = covariance.diagonal().copy()
        return np.diag(values), values, cloud.axes
    covariance = (covariance + covariance.T) / 2
    values, axes = np.linalg.eigh(covariance)
    return covariance, values, axes
