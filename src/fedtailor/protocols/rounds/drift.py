"""How far the clients of a round pull apart: observers of its updates."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ...interfaces import Compared, Seen, Watch
from ...learning.worker import Worker
from ...records import ClientId, Outcome, Update
from ...tensors import Tensors, norm
from .aside import Aside, Sums


def watched(updates: Iterable[Update], watches: Sequence[Watch]) -> Iterator[Update]:
    """Pass updates on, each when all have looked at it."""
    for update in updates:
        for watch in watches:
            watch.see(update)
        yield update
        del update  # else it would stay until the next one is here


@dataclass(frozen=True)
class Drift:
    """Compares each client's update with the step that the round makes of all."""

    def begin(self, shared: Tensors, trained: Collection[str]) -> "DriftMeter":
        """Return what holds the updates of an attempt aside."""
        return DriftMeter({name: shared[name].shape for name in shared}, trained)


class DriftMeter:
    """Holds one round's updates aside until their mean is known, then compares each with it."""

    def __init__(self, shapes: Mapping[str, Sequence[int]], trained: Collection[str]) -> None:
        """Take the shapes that updates are filled up to with zeros, as a client of a lower rank sends less, and what clients train."""
        self._aside = Aside()
        self._shapes, self._trained = shapes, set(trained)

    def see(self, update: Update) -> None:
        """Put aside one client's update."""
        self._aside.put(update.client, {name: filled(value, self._shapes[name]) for name, value in update.delta.items()})

    def end(self, outcome: Outcome, step: Tensors) -> Seen:
        """Return per client the update's norm, its cosine with the mean update, and drift = |update - mean| / |mean|."""
        rows: dict[ClientId, Mapping[str, float]] = {}
        for client, parts in self._aside.compare({name: value for name, value in step.items() if name in self._trained}):
            whole = sum(parts.values(), Sums())
            drift = math.sqrt(whole.between / whole.right) if whole.right else float("nan")
            rows[client] = {"update_norm": math.sqrt(whole.left), "cosine": whole.cosine, "drift": drift}
        return Seen(clients=rows)


@dataclass(frozen=True)
class Likeness:
    """Compares what each client's weights make of every layer (a prefix) with what the new shared weights make of it.

    Source: arXiv:2601.00526, cosine of local and aggregated prefixes.
    """

    worker: Worker  # the server's, with a tuning that is `Compared`

    def begin(self, shared: Tensors, trained: Collection[str]) -> "LikenessMeter":
        """Return what puts aside what each client's weights make."""
        return LikenessMeter(self.worker, shared)


class LikenessMeter:
    """Holds aside what one round's clients make of every layer."""

    def __init__(self, worker: Worker, received: Tensors) -> None:
        """Take the server's worker, and the shared weights that the round starts from."""
        assert isinstance(worker.tuning, Compared)  # `observers_of` has seen to it
        self._figure, self._tuning, self._model = f"{worker.tuning.compares}_cosine", worker.tuning, worker.model
        self._received = received
        self._aside = Aside()
        self._sum: dict[str, Tensor] = {}  # of what clients' weights make, by their weight
        self._weight = 0.0

    def see(self, update: Update) -> None:
        """Put aside what a client's weights make."""
        trained = {name: w + update.delta[name] if name in update.delta else w for name, w in self._received.items()}
        made = self._tuning.compared(self._model, trained)
        self._aside.put(update.client, made)
        self._weight += update.weight
        for name, value in made.items():
            weighted = value.float() * update.weight
            self._sum[name] = self._sum[name] + weighted if name in self._sum else weighted

    def end(self, outcome: Outcome, step: Tensors) -> Seen:
        """Return the cosines of each client, over all layers and for each, their means over clients, which count alike, and the gap of the mean.

        With FedAvg on raw vectors, what the weights after the round make is the clients' weighted mean.
        """
        if not (centre := self._tuning.compared(self._model, outcome.shared)):
            return Seen()
        rows = {client: self._cosines(parts) for client, parts in self._aside.compare(centre)}
        names = list(next(iter(rows.values()), {}))
        figures = {name: sum(row[name] for row in rows.values()) / len(rows) for name in names}
        return Seen(clients=rows, figures={**figures, self._figure.replace("cosine", "gap"): self._gap(centre)})

    def _gap(self, centre: Tensors) -> float:
        """Return how far what the new weights make lies from the weighted mean of what the clients' make, as a share of that mean's length."""
        mean = {name: value / self._weight for name, value in self._sum.items()}
        length = norm(mean)
        return norm({name: centre[name].float() - value for name, value in mean.items()}) / length if length else float("nan")

    def _cosines(self, parts: Mapping[str, Sums]) -> dict[str, float]:
        whole = {self._figure: sum(parts.values(), Sums()).cosine}
        return whole | {f"{self._figure}_{name}": sums.cosine for name, sums in parts.items()}


def filled(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a tensor of `shape` with `tensor` in its first places and zeros elsewhere."""
    if tuple(tensor.shape) == tuple(shape):
        return tensor
    whole = tensor.new_zeros(tuple(shape))
    whole[tuple(slice(size) for size in tensor.shape)] = tensor
    return whole
