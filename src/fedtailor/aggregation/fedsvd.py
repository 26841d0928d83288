"""FedSVD: only B is trained; after averaging, the product is factored again with an orthonormal A.

Source: FedSVD, 2025, arXiv:2505.12805, of which we had the abstract: clients train and send B alone; the server averages B (exact,
as A is the same for all), and from the SVD of B A = U S V' sets A = V' and B = U S. An A with orthonormal rows bounds the gradient
of B, which helps where gradients are clipped and noised.
Our own reading: the shared adapter starts as the tuning draws it (A becomes orthonormal after round 1); the sign of each triplet is fixed by
the largest entry of A; a head is averaged plainly. Mind: V' spans the same rows as A did, so the subspace stays the first one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..interfaces import RuleTraits
from ..records import Outcome, Update
from ..tensors import Tensors
from .factors.lowrank import OneScale, Product, is_a, require_factors
from .mean import mean_delta, take_step
from .stateless import OfFactors


@dataclass(frozen=True, kw_only=True)
class FedSvd(OfFactors):
    """Train and average B alone, then factor the product again with an orthonormal A."""

    kind: Literal["fedsvd"] = "fedsvd"
    traits: ClassVar[RuleTraits] = RuleTraits(linear=True, refactors=True)

    def trains(self, round: int) -> Callable[[str], bool]:
        """Return that all but the factors A are trained, in every round."""
        return lambda name: not is_a(name)

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return the mean of B times A, factored as U S and V'.

        Raises:
            EmptyRound: if no client answered.
        """
        shared = take_step(params, mean_delta(map(OneScale().check, updates)))
        for pair in require_factors(params, self.kind):
            product = Product(left=shared[pair.b].double(), right=shared[pair.a].double())
            b, a = product.factors(rank=params[pair.a].shape[0])
            shared[pair.b], shared[pair.a] = b.to(params[pair.b].dtype), a.to(params[pair.a].dtype)
        return Outcome(shared=shared, state=state)
