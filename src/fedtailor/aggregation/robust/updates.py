"""One round's updates, held together: how they lie to each other, and the step that shares of them make.

LoRA factors are compared by what they make: U_k = s (B_k A_k - B A), trained less received, with s = alpha / rank. Factors themselves would
not do: (c B)(A / c) is the same product at any distance, and where B = 0 a change of A changes nothing. Products are never built, as
<B_k A_k, B_j A_j> = sum((B_k' B_j) * (A_k A_j')) over the entries of two r x r matrices. All in float64.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import EmptyRound
from ...interfaces import RuleTraits
from ...records import ClientId, Outcome, Update
from ...tensors import Tensors, pieces, scale
from ..factors.held import Held
from ..factors.lowrank import OneScale, others_than_factors
from ..mean import take_step, weighted_mean


@dataclass(frozen=True, kw_only=True)
class Updates:
    """All updates of a round, and the shared tensors that they start from."""

    params: Tensors
    all: Sequence[Update]

    @property
    def clients(self) -> list[ClientId]:
        """Who sent them."""
        return [update.client for update in self.all]

    def products(self) -> Tensor:
        """Return the inner product of each two updates [K, K] in float64: of products for LoRA, of the tensors themselves for all others."""
        held = Held(params=self.params)
        for update in self.all:
            held.see(update)
        total = torch.zeros(len(self.all), len(self.all), dtype=torch.float64)
        for pair in held.pairs:
            received = self.params[pair.b].double(), self.params[pair.a].double()
            total += held.scale(pair) ** 2 * _of_products([received, *held.factors(pair)])
        for name in others_than_factors(self.all[0].delta, held.pairs):
            for parts in zip(*(pieces(update.delta[name]) for update in self.all), strict=True):
                values = torch.stack([part.reshape(-1) for part in parts]).double()
                total += values @ values.T
        return total

    def step(self, shares: Tensor) -> Outcome:
        """Return params + sum(share * delta), and the shares; whoever has none has no influence, whatever it sent.

        Args:
            shares: of each update in the step [K].
        """
        each = shares.tolist()
        mean = weighted_mean((update.delta, share) for update, share in zip(self.all, each, strict=True) if share > 0)
        shared = take_step(self.params, scale(mean, sum(each)))
        return Outcome(shared=shared, shares=dict(zip(self.clients, each, strict=True)))


def hold(updates: Iterable[Update], params: Tensors, traits: RuleTraits) -> Updates:
    """Return the updates of a round, all in memory.

    Raises:
        EmptyRound: if fewer came than the rule can work on.
        SettingError: if clients differ in alpha / rank.
    """
    held = list(map(OneScale().check, updates))
    if len(held) < traits.least:
        raise EmptyRound(
            f"{len(held)} updates came, and this rule takes {traits.least} at least; see events.jsonl for the reasons"
        )
    return Updates(params=params, all=held)


def squared_distances(products: Tensor) -> Tensor:
    """Return |U_k - U_j|^2 [K, K] of inner products."""
    squares = products.diagonal()
    return (squares[:, None] + squares - 2 * products).clamp_min(0).fill_diagonal_(0)


def _of_products(factors: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return <B_k A_k - B_0 A_0, B_j A_j - B_0 A_0> [K, K] of one module; the first pair is the received one."""
    left, right = torch.cat([b for b, _ in factors], 1), torch.cat([a for _, a in factors])
    count = len(factors)
    inner = ((left.T @ left) * (right @ right.T)).reshape(count, -1, count, left.shape[1] // count).sum((1, 3))
    return inner[1:, 1:] - inner[1:, :1] - inner[:1, 1:] + inner[0, 0]
