"""Noise from bits that nobody can repeat: Gaussian on a lattice, and of d_X-privacy on vectors."""

import os
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

RandomBytes: TypeAlias = Callable[[int], bytes]  # so many bytes, unforeseeable: os.urandom but in tests
LATTICE = 2.0**-20  # step of the lattice that clipped values are put on, in clip norms
PIECE = 2**20  # values that are drawn at once


def system_bytes(count: int) -> bytes:
    """Return random bytes of the operating system's secure source: no seed of a job, which every client knows, leads to them."""
    return os.urandom(count)


def on_lattice(values: NDArray[np.float64], step: float) -> NDArray[np.int64]:
    """Return values as whole numbers of steps, rounded towards zero: no vector becomes longer by it, so that a clip bound stays kept."""
    return np.trunc(values / step).astype(np.int64)


def lattice_noise(count: int, deviation: float, source: RandomBytes) -> NDArray[np.int64]:
    """Return draws of a normal distribution, rounded to whole numbers.

    Added to whole numbers, they are what rounding makes of the sum of these and true Gaussian noise, so nothing can be read from the low digits of
    floats (Mironov, 2012, "On significance of the least significant bits for differential privacy"). By Box and Muller, from 64 bits each; beyond
    9.4 standard deviations nothing is drawn, which would come once in 10^20.

    Args:
        deviation: standard deviation, in steps of the lattice.
    """
    pieces = [_normal(min(PIECE, count - start), source) for start in range(0, count, PIECE)]
    normal = np.concatenate(pieces) if pieces else np.empty(0)
    return np.rint(normal * deviation).astype(np.int64)


def coin(probability: float, source: RandomBytes) -> bool:
    """Return True with a probability that is exact to 2^-64."""
    return int.from_bytes(source(8), "big") < int(probability * 2**64)


def normal_draw(source: RandomBytes) -> float:
    """Return one draw of the standard normal distribution."""
    return float(_normal(1, source)[0])


def distance_noise(count: int, width: int, epsilon: float, source: RandomBytes) -> NDArray[np.float64]:
    """Return noise vectors [count, width] whose density falls as e^(-epsilon * length).

    A uniform direction, and a length from Gamma(width, 1 / epsilon): the sum of `width` draws of an exponential distribution.
    """
    direction = _normal(count * width, source).reshape(count, width)
    uniform = np.frombuffer(source(8 * count * width), dtype="<u8").astype(np.float64).reshape(count, width)
    length = -np.log((uniform + 0.5) * 2.0**-64).sum(axis=1, keepdims=True) / epsilon
    return np.asarray(direction / np.linalg.norm(direction, axis=1, keepdims=True) * length)


def _normal(count: int, source: RandomBytes) -> NDArray[np.float64]:
    pairs = (count + 1) // 2
    uniform = np.frombuffer(source(16 * pairs), dtype="<u8").astype(np.float64)
    radius = np.sqrt(-2 * np.log((uniform[:pairs] + 0.5) * 2.0**-64))
    angle = (2 * np.pi * 2.0**-64) * uniform[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
