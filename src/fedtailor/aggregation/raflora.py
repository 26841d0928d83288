"""raFLoRA: each rank's part of the products is averaged over the clients that have it, and the sum is decomposed as in FlexLoRA.

Source: raFLoRA, 2026, arXiv:2602.13486, of which we had the abstract: where ranks differ, the mean over all clients weakens the ranks that few clients
have (rank collapse), so ranks are partitioned and each partition is averaged over its owners alone.
Our own reading: the partitions are bounded by the clients' ranks; column c of B and row c of A of a client count with its share among the clients of the round
whose rank exceeds c, which are the same within a partition. The sum of all partitions is decomposed and dealt out as in FlexLoRA; with equal
ranks the rule is FlexLoRA. All clients' factors of the round are held at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..interfaces import RuleTraits
from ..records import Outcome, Update
from ..tensors import Tensors
from .factors.held import Held
from .factors.lowrank import Product, relative, stacked
from .mean import mean_delta, take_step
from .stateless import OfFactors


@dataclass(frozen=True, kw_only=True)
class RaFlora(OfFactors):
    """Average each rank's part of the products over its owners, and keep the best adapter of the rank."""

    kind: Literal["raflora"] = "raflora"
    traits: ClassVar[RuleTraits] = RuleTraits(any_ranks=True, refactors=True)

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return factors of the owners' mean; `bias` is how far their product is from the mean over all clients, relative to that.

        Raises:
            EmptyRound: if no client answered.
        """
        held = Held(params=params)
        shared = take_step(params, mean_delta(map(held.see_others, updates)))
        shares, off = held.shares(), []
        for pair in held.pairs:
            factors = held.factors(pair)
            b, a = owned(shares, factors).factors(rank=params[pair.a].shape[0])
            shared[pair.b], shared[pair.a] = b.to(params[pair.b].dtype), a.to(params[pair.a].dtype)
            everybody = stacked(shares, factors)
            off.append((everybody.minus(b, a).norm(), everybody.norm()))
        return Outcome(shared=shared, state=state, figures={"bias": relative(off)})


def owned(shares: Sequence[float], factors: Sequence[tuple[Tensor, Tensor]]) -> Product:
    """Return the sum over columns c of the mean of B[:, c] A[c] over the clients whose rank exceeds c."""
    ranks = [b.shape[1] for b, _ in factors]
    owners = torch.tensor(
        [sum(p for p, rank in zip(shares, ranks, strict=True) if rank > column) for column in range(max(ranks))]
    ).double()
    left = [p * b.double() / owners[: b.shape[1]] for p, (b, _) in zip(shares, factors, strict=True)]
    return Product(left=torch.cat(left, 1), right=torch.cat([a.double() for _, a in factors]))
