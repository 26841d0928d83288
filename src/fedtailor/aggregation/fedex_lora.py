"""FedEx-LoRA: the mean of the factors is trained on, and what their product misses of the mean product is carried beside it.

Source: Singhal et al., 2024, arXiv:2410.09432: the server averages B and A and adds the residual of the mean product to the frozen weights,
so that aggregation is exact. Difference: no weight of the backbone changes; the residual goes into the carried factor, which is cut back to rank
`carry` when it exceeds it (`carry_error` says what that lost). By the bias identity the residual of K clients has rank (K - 1) r at most, and
is made of their factors alone. All clients' factors of the round are held at once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from ..interfaces import RuleTraits
from ..limits import Width
from ..records import Outcome, Update
from ..tensors import Tensors
from .factors.carried import Carried, check_carry, require_carried
from .factors.held import Held
from .factors.lowrank import deviation, is_carried, stacked
from .mean import mean_delta, take_step


@dataclass(frozen=True, kw_only=True)
class FedExLora:
    """Average the factors, and carry what the product of the means misses."""

    kind: Literal["fedex-lora"] = "fedex-lora"
    carry: Width = 64  # most rank of the carried factor: what goes down grows with it, what goes up does not

    def __post_init__(self) -> None:
        check_carry(self.carry)

    @property
    def traits(self) -> RuleTraits:
        """What the rule does beside averaging."""
        return RuleTraits(carry=self.carry)

    def init(self, params: Tensors) -> Tensors:
        """Return nothing: what is carried is among the shared tensors.

        Raises:
            SettingError: if there are no LoRA factors, or none carried beside them.
        """
        require_carried(params, self.kind)
        return {}

    def trains(self, round: int) -> Callable[[str], bool]:
        """Return that all but the carried factors are trained, in every round."""
        return lambda name: not is_carried(name)

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return the mean, with the residual of the products in the carried factors.

        Raises:
            EmptyRound: if no client answered.
        """
        held, carried = Held(params=params), Carried(params=params)
        shared = take_step(params, mean_delta(map(held.see, updates)))
        shares = held.shares()
        for pair in held.pairs:
            factors, scale = held.factors(pair), held.scale(pair)
            residual, mean = deviation(shares, factors), stacked(shares, factors)
            shared |= carried.add(pair, residual.times(scale), mean.times(scale))
        return Outcome(shared=shared, state=state, figures=carried.figures())
