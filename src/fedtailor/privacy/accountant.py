"""What a run of noisy sums spends of differential privacy: epsilon at a given delta.

A release is the sum of clipped updates of clients that were each drawn by a coin of their own (Poisson sampling), with Gaussian noise of
`noise_multiplier` times the clip norm. Neighbours differ by one client that is added or removed.

Source: the privacy loss of one release is put on a grid so that its curve delta(epsilon) is joined by chords, which lie above it (Doroshenko, Ghazi,
Kamath, Kumar and Manurangsi, 2022, arXiv:2207.04380, "connect the dots"); releases are composed by the Fourier transform (Koskela, Jaelkoe and
Honkela, 2020, arXiv:1906.03049). Both orders of the neighbours are composed by themselves, and the larger epsilon counts. What falls off the grid
is added to delta, so that the result is an upper bound but for the rounding of float64.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
FINE, COARSE = 5e-4, 2e-3  # steps of the grid of losses: of what is reported, and of what searches for a noise multiplier
LEAST_NOISE, MOST_NOISE = 0.1, 1e4  # noise multipliers: below, nothing is hidden; above, nothing is learned
MOST_EPSILON = 100.0  # what is more is shown as infinite
LEAST_DELTA = 1e-10  # below it the rounding of float64 shows
MOST_POINTS = 2**22  # of a composed grid
TAIL = 35.0  # exp(-35): what may fall off either end of a composed grid
REACH = 9.0  # standard deviations of the noise that one release's grid covers


@dataclass(frozen=True, kw_only=True)
class Release:
    """Some releases of the same kind."""

    noise_multiplier: float  # standard deviation of the noise, in clip norms
    rate: float  # probability with which each client takes part, in (0, 1]
    count: int = 1


@dataclass(frozen=True)
class _Losses:
    """A distribution of privacy losses on a grid: the mass at (first + i) * step, and that of infinite loss."""

    first: int
    mass: Floats
    infinite: float


def epsilon_of(releases: Sequence[Release], delta: float, *, step: float = FINE) -> float:
    """Return the epsilon that the releases come to together, at `delta`; 0 without any.

    Args:
        step: of the grid of losses.
    """
    merged: dict[tuple[float, float], int] = {}
    for release in releases:
        key = (release.noise_multiplier, release.rate)
        merged[key] = merged.get(key, 0) + release.count
    counted = tuple((z, q, count) for (z, q), count in sorted(merged.items()) if count)
    return _epsilon(counted, delta, step) if counted else 0.0


def gaussian_epsilon(noise_multiplier: float, delta: float) -> float:
    """Return the exact epsilon of one sum with Gaussian noise that everybody takes part in.

    Source: Balle and Wang, 2018, arXiv:1805.06530, theorem 8, with sensitivity over standard deviation mu = 1 / noise_multiplier:
    delta = Phi(mu / 2 - epsilon / mu) - exp(epsilon) Phi(-mu / 2 - epsilon / mu).
    """
    from scipy.special import ndtr  # here and below: scipy takes a third of a second to load, and few jobs have an accountant

    mu = 1 / noise_multiplier

    def delta_at(epsilon: float) -> float:
        return float(ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon) * ndtr(-mu / 2 - epsilon / mu))

    return _bisect(lambda epsilon: delta_at(epsilon) <= delta, 0.0, min(700.0, mu * (mu / 2 + 8.0) + 1.0))


@cache
def noise_for(epsilon: float, delta: float, *, rate: float, rounds: int) -> float:
    """Return the least noise multiplier with which `rounds` releases spend no more than `epsilon`, to a part in 2,000.

    Raises:
        ValueError: if there is none between LEAST_NOISE and MOST_NOISE.
    """

    def within(noise: float, step: float) -> bool:
        return epsilon_of([Release(noise_multiplier=noise, rate=rate, count=rounds)], delta, step=step) <= epsilon

    high = 1.0
    while not within(high, COARSE):
        high *= 2
        if high > MOST_NOISE:
            raise ValueError(f"no noise multiplier up to {MOST_NOISE:g} keeps {rounds} rounds within epsilon {epsilon:g}")
    low = high / 2
    while low > LEAST_NOISE and within(low, COARSE):
        low, high = max(LEAST_NOISE, low / 2), low
    found = math.exp(_bisect(lambda log: within(math.exp(log), COARSE), math.log(low), math.log(high), 2e-4))
    while not within(found, FINE):
        found *= 1.0003
    return found


def _bisect(holds: Callable[[float], bool], low: float, high: float, width: float = 1e-10) -> float:
    """Return the least number, to `width`, at which a condition holds that holds at `high` and above."""
    if holds(low):
        return low
    while high - low > width:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


@cache
def _epsilon(counted: tuple[tuple[float, float, int], ...], delta: float, step: float) -> float:
    if all(rate == 1 for _, rate, _ in counted):
        return gaussian_epsilon(1 / math.sqrt(sum(count / noise**2 for noise, _, count in counted)), delta)
    return max(_epsilon_of_order(counted, delta, step, added=added) for added in (False, True))


def _epsilon_of_order(counted: Sequence[tuple[float, float, int]], delta: float, step: float, *, added: bool) -> float:
    """Return the epsilon of one order of the neighbours: with the client against without it, or, `added`, the reverse."""
    losses = [(_losses(noise, rate, step, added=added), count) for noise, rate, count in counted]
    low, high = (_bound(losses, step, sign) for sign in (-1.0, 1.0))
    if -low > MOST_EPSILON:
        return math.inf
    if (high + low) / step > MOST_POINTS:  # a coarser grid promises less, and never more
        return _epsilon_of_order(counted, delta, 2 * (high + low) / MOST_POINTS, added=added)
    first, mass, infinite = _composed(losses, step, low, high)
    at = (first + np.arange(len(mass))) * step
    keep = (at > 0) & (at <= MOST_EPSILON)
    beyond = float(mass[at > MOST_EPSILON].sum())
    at, mass = at[keep], mass[keep]
    above = np.append(np.cumsum(mass[::-1])[::-1], 0.0) + infinite + beyond  # mass of losses from each point of the grid upwards
    shrunk = np.append(np.cumsum((mass * np.exp(-at))[::-1])[::-1], 0.0)
    if above[0] - shrunk[0] <= delta:  # delta at epsilon 0
        return 0.0
    delta_at = above[1:] - np.exp(at) * shrunk[1:]
    index = int(np.argmax(delta_at <= delta)) if (delta_at <= delta).any() else len(at) - 1
    if not delta_at[index] <= delta or shrunk[index] <= 0:
        return math.inf
    return float(np.log((above[index] - delta) / shrunk[index]))  # between two points of the grid, the chord solved


def _losses(noise: float, rate: float, step: float, *, added: bool) -> _Losses:
    """Return the losses of one release by the chords of its curve.

    With x the release along the client's update in clip norms, A = (1 - q) N(0, z^2) + q N(1, z^2) with the client and B = N(0, z^2) without it,
    A / B = e^l at x(l) = z^2 log((e^l - (1 - q)) / q) + 1/2.
    """
    most = math.log1p(rate * math.expm1((2 * (1 + REACH * noise) - 1) / (2 * noise**2)))  # loss at the upper end of x
    end = -(math.log1p(-rate) if rate < 1 else (2 * -REACH * noise - 1) / (2 * noise**2))  # minus that at the lower end
    low, high = (-most, end) if added else (-end, most)
    first, last = math.floor(low / step), math.ceil(high / step)
    grid: Floats = np.arange(first, last + 2, dtype=np.float64) * step
    delta = np.maximum(_delta(grid, noise, rate, added=added), 0.0)
    slope = (delta[:-1] - delta[1:]) / -math.expm1(-step)
    mass = np.maximum(slope[:-1] - math.exp(-step) * slope[1:], 0.0)  # of the points 1, 2, ... of the grid
    infinite = float(delta[-2])
    bottom = max(0.0, 1.0 - infinite - float(mass.sum()))
    return _Losses(first, np.concatenate([[bottom], mass]), infinite)


def _delta(epsilon: Floats, noise: float, rate: float, *, added: bool) -> Floats:
    """Return the least delta of one release at each epsilon."""
    from scipy.special import ndtr

    odds = np.exp(-epsilon if added else epsilon) - (1 - rate)
    with np.errstate(divide="ignore"):
        x = np.where(odds > 0, noise**2 * np.log(np.maximum(odds, 1e-300) / rate) + 0.5, -np.inf)
    sign = 1.0 if added else -1.0  # mass below x, or above it
    without = ndtr(sign * x / noise)
    with_client = (1 - rate) * without + rate * ndtr(sign * (x - 1) / noise)
    found = without - np.exp(epsilon) * with_client if added else with_client - np.exp(epsilon) * without
    return np.asarray(found, dtype=np.float64)


def _composed(losses: Sequence[tuple[_Losses, int]], step: float, low: float, high: float) -> tuple[int, Floats, float]:
    """Return the first index, the masses and the infinite mass of the sum of all losses, each counted so many times; it lies from -low to high."""
    from scipy.fft import irfft, next_fast_len, rfft

    first = math.floor(-low / step)
    length = next_fast_len(math.ceil((high + low) / step) + 2, real=True)
    product = np.ones(length // 2 + 1, dtype=np.complex128)
    finite = 1.0
    for each, count in losses:
        folded = np.bincount((each.first + np.arange(len(each.mass))) % length, weights=each.mass, minlength=length)
        product *= rfft(folded) ** count
        finite *= (1.0 - each.infinite) ** count
    mass = np.roll(np.maximum(irfft(product, length), 0.0), -(first % length))
    return first, mass, (1.0 - finite) + 2 * math.exp(-TAIL)


def _bound(losses: Sequence[tuple[_Losses, int]], step: float, sign: float) -> float:
    """Return a bound that `sign` times the sum of all losses exceeds with a probability of at most exp(-TAIL): Chernoff's, the best of some orders."""
    bounds: list[float] = []
    for order in np.geomspace(0.05, 500.0, 40).tolist():
        log = 0.0
        for each, count in losses:
            exponent = sign * order * step * (each.first + np.flatnonzero(each.mass))
            top = float(exponent.max())
            log += count * (top + math.log(float((each.mass[each.mass > 0] * np.exp(exponent - top)).sum())))
        bounds.append((log + TAIL) / order)
    return max(min(bounds), step)
