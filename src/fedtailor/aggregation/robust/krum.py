"""Krum and multi-Krum: what lies closest to its neighbours is taken, the rest is left out.

Source: Blanchard, El Mhamdi, Guerraoui and Stainer, 2017, Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent. The score of an
update is the sum of its squared distances to its K - f - 2 nearest others; Krum takes the one with the least, multi-Krum the mean of the m best.
Differences: m is K - f, where the paper's proof has m < K - 2f - 2: all who may be honest count (measured in docs/results.md); LoRA is compared
by products (`updates.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...errors import SettingError
from ...interfaces import RuleTraits
from ...limits import ClientCount
from ...records import Outcome, Update
from ...tensors import Tensors
from ..stateless import Stateless
from .updates import hold, squared_distances


@dataclass(frozen=True, kw_only=True)
class Krum(Stateless):
    """Take the one update that lies closest to its neighbours."""

    kind: Literal["krum"] = "krum"
    hostile: ClientCount | None = (
        None  # f, clients of a round that may send anything; null: as many as the rule stands, (K - 3) / 2 of K
    )

    def __post_init__(self) -> None:
        check_hostile(self.hostile)

    @property
    def traits(self) -> RuleTraits:
        """What the rule does beside averaging."""
        return RuleTraits(alike=True, least=least_of(self.hostile))

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + the chosen delta.

        Raises:
            EmptyRound: if fewer than 2 f + 3 updates came.
        """
        held = hold(updates, params, self.traits)
        return held.step(best(held.products(), hostile=self.hostile, keep=1))


@dataclass(frozen=True, kw_only=True)
class MultiKrum(Stateless):
    """Take the mean of the updates that lie closest to their neighbours."""

    kind: Literal["multi-krum"] = "multi-krum"
    hostile: ClientCount | None = (
        None  # f, clients of a round that may send anything, left out; null: as many as the rule stands, (K - 3) / 2 of K
    )

    def __post_init__(self) -> None:
        check_hostile(self.hostile)

    @property
    def traits(self) -> RuleTraits:
        """What the rule does beside averaging."""
        return RuleTraits(alike=True, least=least_of(self.hostile))

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + the mean of the K - f best deltas.

        Raises:
            EmptyRound: if fewer than 2 f + 3 updates came.
        """
        held = hold(updates, params, self.traits)
        return held.step(best(held.products(), hostile=self.hostile, keep=None))


def best(products: Tensor, *, hostile: int | None, keep: int | None) -> Tensor:
    """Return equal shares for the updates with the least scores, and 0 for the others.

    Args:
        products: inner products of the updates [K, K].
        hostile: f; None: the most that K updates stand.
        keep: how many are taken; None: K - f.
    """
    count = len(products)
    f = (count - 3) // 2 if hostile is None else hostile
    nearest = squared_distances(products).fill_diagonal_(torch.inf).sort(1).values[:, : count - f - 2]
    chosen = nearest.sum(1).argsort(stable=True)[: keep or count - f]
    shares = torch.zeros(count, dtype=torch.float64)
    shares[chosen] = 1 / len(chosen)
    return shares


def check_hostile(hostile: int | None) -> None:
    """Raise SettingError unless it is a number of clients."""
    if hostile is not None and hostile < 0:
        raise SettingError(f"hostile is a number of clients of a round, at least 0; got {hostile}")


def least_of(hostile: int | None) -> int:
    """Return the fewest updates among which so many may be anything: 2 f + 3."""
    return 2 * (hostile or 0) + 3
