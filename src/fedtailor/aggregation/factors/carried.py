"""The frozen factor that is carried beside the trained one: what exceeds the rank goes there, and the backbone never changes.

A module's weight is W + s B A + C with the carried C = Bc Ac, Bc [out, carry] and Ac [carry, in]. Adding to C raises its rank, so it is cut back
to the best factor of rank `carry`, its largest singular triplets, and what is lost is reported. Our own way for rules whose papers change W.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...errors import SettingError
from ...tensors import Tensors
from .lowrank import Pair, Product, carried_beside, relative, require_factors

NEGLIGIBLE = 1e-12  # triplets below this share of the largest are rounding of float64
CARRY_HINT = "16 to 256 are usual: what goes down grows with it"


def check_carry(carry: object) -> None:
    """Raise SettingError unless `carry` is a whole number from 1."""
    if not isinstance(carry, int) or isinstance(carry, bool) or carry < 1:
        raise SettingError(f"carry is the rank of the carried factor, a whole number from 1; got {carry!r}; {CARRY_HINT}")


def require_carried(params: Tensors, rule: str) -> list[Pair]:
    """Return the pairs of trained factors, beside each of which one is carried.

    Raises:
        SettingError: if there are no factors, or no carried ones.
    """
    pairs = require_factors(params, rule)
    if any(name not in params for pair in pairs for name in (carried_beside(pair).a, carried_beside(pair).b)):
        raise SettingError(
            f"aggregation {rule} carries a frozen factor beside each trained one, which tuning: {{kind: lora}} makes room for; choose it, or "
            "aggregation: {kind: flexlora}, which carries nothing"
        )
    return pairs


@dataclass(kw_only=True)
class Carried:
    """The carried factors of one round, module by module, and what cutting them back loses."""

    params: Tensors
    lost: list[tuple[float, float]] = field(default_factory=list)  # norms of what was lost and of what was to be carried
    missed: list[tuple[float, float]] = field(default_factory=list)  # norms of what was lost and of the round's mean product

    def add(self, pair: Pair, change: Product, mean: Product) -> dict[str, Tensor]:
        """Return the module's carried factors after `change` is added to their product.

        Args:
            change: in the units of the weights, alpha / rank included.
            mean: likewise, of the clients' products, to which `bias` is relative.
        """
        names = carried_beside(pair)
        b, a = self.params[names.b], self.params[names.a]
        whole = Product(left=b.double(), right=a.double()).plus(change)
        u, s, vt = whole.svd(rank=a.shape[0])
        s = torch.where(s > NEGLIGIBLE * s[0], s, 0.0)
        off = whole.minus(u * s, vt).norm()
        self.lost.append((off, whole.norm()))
        self.missed.append((off, mean.norm()))
        return {names.b: (u * s).to(b.dtype), names.a: vt.contiguous().to(a.dtype)}

    def figures(self) -> dict[str, float]:
        """Return `bias`, what is lost relative to the mean product of the round, and `carry_error`, relative to all that was to be carried."""
        return {"bias": relative(self.missed), "carry_error": relative(self.lost)}
