"""FlexLoRA: the mean of the clients' products, cut back to rank r by a singular value decomposition.

Source: Bai et al., 2024, arXiv:2402.11505, section 3: clients' products are averaged by weight, and each client gets the top singular
triplets of the mean that its rank holds, B = U S and A = V'. That is the best adapter of rank r (Eckart and Young). Clients may differ in
rank: the shared factors are sorted by singular value, so the first columns and rows are a client's part.
Differences: the dense product is never built (QR of the stacked factors gives the same triplets);
the sign of each triplet is fixed by the largest entry of A. All clients' factors of the round are held at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..interfaces import RuleTraits
from ..records import Outcome, Update
from ..tensors import Tensors
from .factors.held import Held
from .factors.lowrank import relative, stacked
from .mean import mean_delta, take_step
from .stateless import OfFactors


@dataclass(frozen=True, kw_only=True)
class FlexLora(OfFactors):
    """Average the clients' products, and keep the best adapter of the rank."""

    kind: Literal["flexlora"] = "flexlora"
    traits: ClassVar[RuleTraits] = RuleTraits(any_ranks=True, refactors=True)

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return factors whose product is the best of rank r; `bias` is the norm of what exceeds that rank, relative to all.

        Raises:
            EmptyRound: if no client answered.
        """
        held = Held(params=params)
        shared = take_step(params, mean_delta(map(held.see_others, updates)))
        shares, cut = held.shares(), []
        for pair in held.pairs:
            product = stacked(shares, held.factors(pair))
            b, a = product.factors(rank=params[pair.a].shape[0])
            shared[pair.b], shared[pair.a] = b.to(params[pair.b].dtype), a.to(params[pair.a].dtype)
            cut.append((product.minus(b, a).norm(), product.norm()))
        return Outcome(shared=shared, state=state, figures={"bias": relative(cut)})
