"""How far clients pull apart where the rule writes the shared LoRA as other factors each round: their products are compared.

The change of client k in one module is s (B_k A_k - B A), of the factors that it received, cut to its rank; the step of all is what the round changes
of s B A + C, with the carried C where there is one. Norms and inner products come from the factors: <L R, M N> = <L'M, R N'>.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...aggregation.factors.lowrank import Pair, Product, carried_beside, others_than_factors, pairs_of
from ...interfaces import Seen
from ...records import ClientId, Outcome, Update
from ...tensors import Tensors, norm
from .aside import Aside, Sums
from .drift import filled


@dataclass(frozen=True)
class ProductDrift:
    """Compares what each client changed of the adapted weights with what the round changes of them."""

    def begin(self, shared: Tensors, trained: Collection[str]) -> "ProductMeter":
        """Return what holds the updates of an attempt aside."""
        return ProductMeter(shared, trained)


class ProductMeter:
    """Holds one round's updates aside until the step is known, then compares each with it."""

    def __init__(self, shared: Tensors, trained: Collection[str]) -> None:
        """Take the shared weights that the round starts from, and the names of those that clients train."""
        self._shared, self._trained, self._pairs = shared, sorted(trained), pairs_of(shared)
        self._aside = Aside()
        self._ranks: dict[ClientId, int] = {}
        self._scale: Mapping[str, float] = {}  # of all updates: in the server's scale

    def see(self, update: Update) -> None:
        """Put aside one client's update; one of a lower rank is filled up with zeros."""
        self._aside.put(update.client, {name: filled(value, self._shared[name].shape) for name, value in update.delta.items()})
        self._scale = update.scale or self._scale
        sizes = [update.delta[pair.b].shape[1] for pair in self._pairs if pair.b in update.delta]
        self._ranks[update.client] = min(sizes, default=0)

    def end(self, outcome: Outcome, step: Tensors) -> Seen:
        """Return per client the norm of what it sent, and of the change of its products the cosine with that of all, and drift as in `Drift`."""
        whole = {pair: self._step(pair, outcome.shared) for pair in self._pairs}
        others = sorted(others_than_factors({name: step[name] for name in self._trained}, self._pairs))
        rows: dict[ClientId, Mapping[str, float]] = {}
        for client, delta in self._aside.each({name: self._shared[name].shape for name in self._trained}):
            parts = [sums_of(self._change(pair, delta, self._ranks[client]), whole[pair]) for pair in self._pairs]
            found = sum([*parts, *(plain_sums(delta[name], step[name]) for name in others)], Sums())
            drift = math.sqrt(found.between / found.right) if found.right else float("nan")
            rows[client] = {"update_norm": norm(delta), "cosine": found.cosine, "drift": drift}
        return Seen(clients=rows)

    def _change(self, pair: Pair, delta: Tensors, rank: int) -> Product:
        """Return what a client changed of a module: (B + dB)(A + dA) - B A = dB (A + dA) + B dA, in the units of the weights."""
        b, a = self._shared[pair.b][:, :rank].double(), self._shared[pair.a][:rank].double()
        db, da = (_first_of(delta.get(name), like) for name, like in ((pair.b, b), (pair.a, a)))
        return Product(left=torch.cat([db, b], 1), right=torch.cat([a + da, da])).times(self._scale.get(pair.module, 1.0))

    def _step(self, pair: Pair, after: Tensors) -> Product:
        """Return what the round changed of a module, what is carried included."""
        scale, carried = self._scale.get(pair.module, 1.0), carried_beside(pair)
        found = _product(after, pair).times(scale).plus(_product(self._shared, pair).times(-scale))
        if carried.a in after:
            found = found.plus(_product(after, carried)).plus(_product(self._shared, carried).times(-1.0))
        return found


def sums_of(left: Product, right: Product) -> Sums:
    """Return the sums of two matrices that are kept as factors."""
    return Sums(
        product=inner(left, right),
        left=left.norm() ** 2,
        right=right.norm() ** 2,
        between=left.plus(right.times(-1.0)).norm() ** 2,
    )


def plain_sums(left: Tensor, right: Tensor) -> Sums:
    """Return the sums of two tensors, in float64."""
    x, y = left.double().reshape(-1), right.double().reshape(-1)
    return Sums(*(float(one @ other) for one, other in ((x, y), (x, x), (y, y), (x - y, x - y))))


def inner(left: Product, right: Product) -> float:
    """Return the inner product of two matrices from their factors."""
    return float(((left.left.T @ right.left) * (left.right @ right.right.T)).sum())


def _product(tensors: Tensors, pair: Pair) -> Product:
    return Product(left=tensors[pair.b].double(), right=tensors[pair.a].double())


def _first_of(tensor: Tensor | None, like: Tensor) -> Tensor:
    """Return the first places of a tensor, as many as `like` has; zeros where there is none."""
    places: Sequence[slice] = tuple(slice(size) for size in like.shape)
    return torch.zeros_like(like) if tensor is None else tensor[tuple(places)].double()
