"""The median and the trimmed mean of each value by itself.

Source: Yin, Chen, Ramchandran and Bartlett, 2018, arXiv:1803.01498, definitions 1 and 2. Of each value the largest and the smallest of all clients
are trimmed, and the mean of the rest is taken; the median trims all but the middle one, or the middle two.
LoRA factors are taken one by one, as they were sent; or, `on: products`, the values of B_k A_k, whose median is then cut back to the rank by a singular value decomposition
(`bias` is the norm of what that leaves out, relative to all): the same update written as (c B)(A / c) counts the same then. Where clients' data differ, the median of each value is far from their mean even without an
attack (docs/results.md).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ...errors import SettingError
from ...interfaces import RuleTraits
from ...records import Outcome, Update
from ...tensors import Tensors, pieces
from ..factors.lowrank import others_than_factors, pairs_of
from ..mean import take_step
from ..stateless import Stateless
from .updates import Updates, hold

On: TypeAlias = Literal["factors", "products"]
LEAST_SHARE = 1e-6  # one of as many clients as a job can have


@dataclass(frozen=True, kw_only=True)
class Median(Stateless):
    """Take the median of each value."""

    kind: Literal["median"] = "median"
    on: On = "factors"  # of LoRA: values of A and B as they come, or of B A

    @property
    def traits(self) -> RuleTraits:
        """What the rule does beside averaging."""
        return RuleTraits(alike=True, least=3, refactors=self.on == "products")

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + the median of the deltas, value by value.

        Raises:
            EmptyRound: if fewer than 3 updates came.
        """
        held = hold(updates, params, self.traits)
        return _trimmed(held, cut=(len(held.all) - 1) // 2, on=self.on)


@dataclass(frozen=True, kw_only=True)
class TrimmedMean(Stateless):
    """Take the mean of each value without its largest and smallest ones."""

    kind: Literal["trimmed-mean"] = "trimmed-mean"
    share: float = 0.2  # of a round's clients that is trimmed at each end of each value, below 0.5
    on: On = "factors"  # of LoRA: values of A and B as they come, or of B A

    def __post_init__(self) -> None:
        if not LEAST_SHARE <= self.share < 0.5:
            raise SettingError(
                f"share is trimmed at both ends, at least {LEAST_SHARE:g} and below 0.5; got {self.share}; 0.5 is aggregation: median"
            )

    @property
    def traits(self) -> RuleTraits:
        """What the rule does beside averaging; with fewer clients nobody would be trimmed."""
        least = max(3, math.ceil(1 / self.share - 1e-9))
        return RuleTraits(alike=True, least=least, refactors=self.on == "products")

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + the trimmed mean of the deltas, value by value.

        Raises:
            EmptyRound: if so few updates came that none would be trimmed.
        """
        held = hold(updates, params, self.traits)
        return _trimmed(held, cut=int(self.share * len(held.all) + 1e-9), on=self.on)


def _trimmed(held: Updates, *, cut: int, on: On) -> Outcome:
    """Return params + the mean of each value without `cut` at each end."""
    pairs = pairs_of(held.params) if on == "products" else []
    step: dict[str, Tensor] = {}
    for name in others_than_factors(held.all[0].delta, pairs):
        first = held.all[0].delta[name]
        parts = zip(*(pieces(update.delta[name]) for update in held.all), strict=True)
        middles = [_middle(part, cut) for part in parts]
        step[name] = torch.cat([middle.reshape(-1) for middle in middles]).reshape(first.shape)
    shared = take_step({name: held.params[name] for name in step}, step) if pairs else take_step(held.params, step)
    lost = whole = 0.0
    for pair in pairs:
        received = held.params[pair.b].double(), held.params[pair.a].double()
        products = [
            (received[0] + update.delta[pair.b].double()) @ (received[1] + update.delta[pair.a].double()) for update in held.all
        ]
        middle = _middle(products, cut)
        b, a = _factors(middle, rank=len(received[1]))
        shared[pair.b], shared[pair.a] = b.to(held.params[pair.b].dtype), a.to(held.params[pair.a].dtype)
        lost, whole = lost + float((middle - b @ a).square().sum()), whole + float(middle.square().sum())
    return Outcome(shared=dict(sorted(shared.items())), figures={"bias": math.sqrt(lost / whole)} if whole else {})


def _middle(values: Sequence[Tensor], cut: int) -> Tensor:
    """Return the mean of each value without `cut` at each end."""
    found = torch.stack(list(values))
    sorted_K = (found if found.dtype == torch.float64 else found.float()).sort(0).values
    return sorted_K[cut : len(found) - cut].mean(0)


def _factors(product: Tensor, *, rank: int) -> tuple[Tensor, Tensor]:
    """Return B [out, rank] and A [rank, in] of the best product of that rank; the largest value of each row of A is positive."""
    left, sizes, right = torch.linalg.svd(product, full_matrices=False)
    signs = right[:rank].gather(1, right[:rank].abs().argmax(dim=1, keepdim=True)).sign()
    return left[:, :rank] * sizes[:rank] * signs.T, right[:rank] * signs
