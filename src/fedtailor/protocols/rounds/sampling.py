"""Which clients are asked in a round, and how much one of them may count."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from ...chance import stream
from ...records import ClientId, ClientInfo

Select = Literal["uniform", "by-size", "stratified"]


@dataclass(frozen=True, kw_only=True)
class Coins:
    """Draws each client by a throw of its own that nobody can repeat (Poisson sampling): a round may have none, and one drawn again has others."""

    toss: Callable[[], bool]
    drawn: Callable[[int, list[ClientId]], None]  # called with a round's clients before any of them is asked


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Draws the clients of each round from (seed, round) alone, without replacement; or by coins.

    `by-size` draws with probability in proportion to the number of examples; `stratified` orders clients by size, cuts
    the order into as many strata as clients are asked, and draws one from each.
    """

    clients: Sequence[ClientInfo]
    per_round: int
    select: Select = "uniform"
    seed: int = 0
    coins: Coins | None = None
    most_weight: float = 1.0  # largest share of one client in an average of those that answer

    def draw(self, round: int) -> list[ClientId]:
        """Return the ids of the clients asked in `round` (from 1), in the order of ids."""
        ids = sorted(client.id for client in self.clients)
        if self.coins is not None:
            ids = [client for client in ids if self.coins.toss()]
            self.coins.drawn(round, ids)
            return ids
        if self.per_round >= len(ids):
            return ids
        draw = stream(self.seed, "clients", round)
        sizes = {client.id: client.examples for client in self.clients}
        if self.select == "uniform":
            chosen = draw.choice(ids, self.per_round, replace=False).tolist()
        elif self.select == "by-size":
            share = np.array([sizes[i] for i in ids], dtype=float)
            chosen = draw.choice(ids, self.per_round, replace=False, p=share / share.sum()).tolist()
        else:
            strata = np.array_split(sorted(ids, key=lambda i: (sizes[i], i)), self.per_round)
            chosen = [str(draw.choice(stratum)) for stratum in strata]
        return sorted(chosen)


def clients_per_round(count: int, *, fraction: float, per_round: int | None) -> int:
    """Return how many of `count` clients are asked: `per_round` if given, else the rounded fraction, at least one."""
    return min(count, per_round) if per_round is not None else min(count, max(1, round(fraction * count)))


def at_least(share: float, count: int) -> int:
    """Return the fewest of `count` that are `share` of them, with the share as it is written: 0.55 of 20 are 11, which floats make 12."""
    return math.ceil(Fraction(repr(share)) * count)
