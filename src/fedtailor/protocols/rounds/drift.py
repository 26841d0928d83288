"""How far the clients of a round pull apart."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from torch import Tensor

from ...interfaces import Compared
from ...learning.worker import Worker
from ...records import ClientId, Update
from ...tensors import Tensors
from .aside import Aside, Sums


class DriftMeter:
    """Holds one round's updates aside until their mean is known, then compares each with it."""

    def __init__(self, shapes: Mapping[str, Sequence[int]] | None = None) -> None:
        """Take the shapes that updates are filled up to with zeros; one that is not listed stays as it is."""
        self._aside = Aside()
        self._shapes = shapes or {}

    def add(self, client: ClientId, delta: Tensors) -> None:
        """Put aside one client's update."""
        self._aside.put(client, {name: _filled(value, self._shapes.get(name, value.shape)) for name, value in delta.items()})

    def measure(self, mean: Tensors) -> dict[ClientId, Mapping[str, float]]:
        """Return per client the update's norm, its cosine with the mean update, and drift = |update - mean| / |mean|."""
        rows: dict[ClientId, Mapping[str, float]] = {}
        for client, parts in self._aside.compare(mean):
            whole = sum(parts.values(), Sums())
            drift = math.sqrt(whole.between / whole.right) if whole.right else float("nan")
            rows[client] = {"update_norm": math.sqrt(whole.left), "cosine": whole.cosine, "drift": drift}
        return rows


class LikenessMeter:
    """Compares what each client's weights make of every layer (a prefix) with what the new shared weights make of it.

    Source: arXiv:2601.00526, cosine of local and aggregated prefixes. Tunings that are not `Compared` have no such figures.
    """

    def __init__(self, worker: Worker | None, received: Tensors) -> None:
        """Take the server's worker, and the shared weights that the round starts from."""
        self._figure = ""
        if worker is not None and isinstance(worker.tuning, Compared):
            self._figure, self._view = f"{worker.tuning.compares}_cosine", partial(worker.tuning.compared, worker.model)
        self._received = received
        self._aside = Aside()

    def watch(self, updates: Iterable[Update]) -> Iterator[Update]:
        """Pass updates on, and put aside what each client's weights make."""
        for update in updates:
            if self._figure:
                trained = {name: w + update.delta[name] if name in update.delta else w for name, w in self._received.items()}
                self._aside.put(update.client, self._view(trained))
            yield update
            del update  # else it would stay until the next one is here

    def measure(self, shared: Tensors) -> tuple[dict[ClientId, dict[str, float]], dict[str, float]]:
        """Return the cosines of each client, over all layers and for each, and their means over clients, which count alike.

        Args:
            shared: the weights after the round; with FedAvg on raw vectors what they make is the clients' weighted mean.
        """
        if not self._figure or not (centre := self._view(shared)):
            return {}, {}
        rows = {client: self._cosines(parts) for client, parts in self._aside.compare(centre)}
        names = list(next(iter(rows.values()), {}))
        return rows, {name: sum(row[name] for row in rows.values()) / len(rows) for name in names}

    def _cosines(self, parts: Mapping[str, Sums]) -> dict[str, float]:
        whole = {self._figure: sum(parts.values(), Sums()).cosine}
        return whole | {f"{self._figure}_{name}": sums.cosine for name, sums in parts.items()}


def _filled(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a tensor of `shape` with `tensor` in its first places and zeros elsewhere."""
    if tuple(tensor.shape) == tuple(shape):
        return tensor
    whole = tensor.new_zeros(tuple(shape))
    whole[tuple(slice(size) for size in tensor.shape)] = tensor
    return whole
