"""What clients have to work with, as given or measured, and how long work takes with it."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Means:
    """What each client has to work with; None where nothing is known."""

    bandwidth: float | None = None  # bytes a second between a client and the server, each way
    latency_s: float = 0.0  # from a message to its answer, beside bytes and computing
    client_memory: float | None = None  # bytes that its process may take
    client_flops: float | None = None  # operations a second
    at_once: int | None = None  # clients that work at the same time; None: all of a round

    @property
    def given(self) -> bool:
        """Whether anything is known."""
        return self != Means()


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Operations a second in each kind of work."""

    train: float
    evaluate: float
    source: str = "given"  # or "measured here"


def link_seconds(means: Means, *, size_bytes: float, exchanges: float) -> float | None:
    """Return the seconds that messages are under way; None where the link is not known."""
    if means.bandwidth is None:
        return None
    return size_bytes / means.bandwidth + exchanges * means.latency_s


def makespan(seconds: Iterable[float], at_once: int | None) -> float:
    """Return how long clients take that begin in order, so many at a time: each place takes the next client when it is free."""
    every = list(seconds)
    if at_once is None or at_once >= len(every):
        return max(every, default=0.0)
    busy = [0.0] * at_once
    for each in every:
        heapq.heapreplace(busy, busy[0] + each)
    return max(busy)
