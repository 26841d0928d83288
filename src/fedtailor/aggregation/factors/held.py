"""Clients' factors held for the length of one round, and how far plain averaging of them is off."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from ...records import Update
from ...tensors import Tensors
from ..mean import mean_delta
from .lowrank import OneScale, Pair, deviation, others_than_factors, pairs_of, relative, stacked

MOST_BYTES = 32 * 2**20  # of factors that are held for a figure alone; a round of more goes without that figure


@dataclass(kw_only=True)
class Held:
    """The factors that one round's clients sent, in the order of the updates.

    A rule that needs all clients' factors at once holds them without a limit: its memory grows with the clients of a round by the size
    of their factors. For a figure alone there is `most_bytes`, past which everything is let go.
    """

    params: Tensors
    most_bytes: int | None = None
    pairs: list[Pair] = field(init=False)
    given_up: bool = False
    _deltas: list[dict[str, Tensor]] = field(default_factory=list)
    _weights: list[float] = field(default_factory=list)
    _bytes: int = 0
    _scale: OneScale = field(default_factory=OneScale)

    def __post_init__(self) -> None:
        self.pairs = pairs_of(self.params)

    def see(self, update: Update) -> Update:
        """Keep hold of the update's factors, and return it.

        Raises:
            SettingError: if clients differ in alpha / r.
        """
        self._scale.check(update)
        if self.pairs and not self.given_up:
            self._add(update)
        return update

    def see_others(self, update: Update) -> Update:
        """Keep hold of the update's factors, and return it without them."""
        return replace(update, delta=others_than_factors(self.see(update).delta, self.pairs))

    def shares(self) -> list[float]:
        """Return the shares p of the clients."""
        total = sum(self._weights)
        return [weight / total for weight in self._weights]

    def factors(self, pair: Pair) -> list[tuple[Tensor, Tensor]]:
        """Return each client's trained (B, A) of one module: what it received plus what it sent, in float64.

        A client of a lower rank received the first columns and rows, and sent as many.
        """
        b, a = self.params[pair.b].double(), self.params[pair.a].double()
        return [(_plus(b, delta.get(pair.b)), _plus(a, delta.get(pair.a))) for delta in self._deltas]

    def scale(self, pair: Pair) -> float:
        """Return alpha / rank of one module, which is the same for all updates; 1 where nobody said it."""
        return self._scale.first[1].get(pair.module, 1.0) if self._scale.first else 1.0

    def bias(self) -> Mapping[str, float]:
        """Return {"bias": |sum p (B - Bm)(A - Am)| / |dW*|} over all modules, or nothing where it has no meaning.

        It has none for fewer than two updates (one may be a sum of many under secure aggregation), without factors, or where they were
        too many to hold.
        """
        if self.given_up or len(self._deltas) < 2 or not self.pairs:
            return {}
        shares, held = self.shares(), (self.factors(pair) for pair in self.pairs)
        return {"bias": relative((deviation(shares, each).norm(), stacked(shares, each).norm()) for each in held)}

    def _add(self, update: Update) -> None:
        named = {name for pair in self.pairs for name in (pair.a, pair.b)}
        factors = {name: tensor for name, tensor in update.delta.items() if name in named}
        self._bytes += sum(tensor.nbytes for tensor in factors.values())
        self._deltas.append(factors)
        self._weights.append(update.weight)
        if self.most_bytes is not None and self._bytes > self.most_bytes:
            self.given_up = True
            self._deltas.clear()
            self._weights.clear()


def mean_and_bias(updates: Iterable[Update], params: Tensors) -> tuple[dict[str, Tensor], Mapping[str, float]]:
    """Return the weighted mean of the deltas, and for LoRA the bias of averaging factors one by one.

    The mean is one running sum. The bias needs every client's factors at once, since it is made of the products of all pairs of
    clients; they are held up to 32 MiB (18 clients of SmolLM2-135M at rank 8), and past that a round has no such figure.

    Raises:
        EmptyRound: if no client answered.
    """
    held = Held(params=params, most_bytes=MOST_BYTES)
    mean = mean_delta(map(held.see, updates))
    return mean, held.bias()


def _plus(received: Tensor, delta: Tensor | None) -> Tensor:
    if delta is None:
        return received
    rows, columns = delta.shape
    return received[:rows, :columns] + delta.double()
