"""The geometric median: the point whose distances to all updates sum to the least.

Source: Pillutla, Kakade and Harchaoui, 2022, arXiv:1912.13445, RFA: the smoothed Weiszfeld algorithm, w_k ~ 1 / max(nu, |U_k - m|), m = sum(w_k U_k).
Differences: clients count alike; nu is 1e-6 of the updates' median length; it runs until the shares stand still, which costs K^2 operations a
step and not K d, since m is a mean of the updates and distances to it follow from their inner products; LoRA is compared by
products (`updates.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from ...interfaces import RuleTraits
from ...records import Outcome, Update
from ...tensors import Tensors
from ..stateless import Stateless
from .updates import hold, squared_distances

STEPS = 1000  # at most; some dozens are usual
STILL = 1e-7  # relative change of any share below which the rest is not worth a step
SMOOTH = 1e-6  # nu, of the median length


@dataclass(frozen=True, kw_only=True)
class GeometricMedian(Stateless):
    """Take the point that is closest to all updates together; whoever is far off counts little."""

    kind: Literal["geometric-median"] = "geometric-median"
    traits: ClassVar[RuleTraits] = RuleTraits(alike=True)

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + the median.

        Raises:
            EmptyRound: if no client answered.
        """
        held = hold(updates, params, self.traits)
        return held.step(weiszfeld(held.products()))


def weiszfeld(products: Tensor) -> Tensor:
    """Return the shares of the updates in their geometric median [K], of their inner products [K, K].

    It starts near the updates that have others around them: from the mean, an update of any length would hold it for as many steps as it
    has digits.
    """
    squares = products.diagonal()
    nearest = max(SMOOTH * float(squares.clamp_min(0).sqrt().median()), 1e-30)
    shares = _inverse(squared_distances(products).sqrt().median(1).values, nearest)
    for _ in range(STEPS):
        squared = squares - 2 * products @ shares + shares @ products @ shares
        following = _inverse(squared.clamp_min(0).sqrt(), nearest)
        if float(((following - shares) / following).abs().max()) < STILL:
            return following
        shares = following
    return shares


def _inverse(distances: Tensor, nearest: float) -> Tensor:
    """Return shares that are inverse to distances; none counts as less than `nearest`."""
    inverse = 1 / distances.clamp_min(nearest)
    return inverse / inverse.sum()
