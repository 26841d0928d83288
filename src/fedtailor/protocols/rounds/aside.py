"""One round's tensors, put aside until what each client's are compared with is known."""

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import IO

import numpy as np
import torch
from torch import Tensor

from ...records import ClientId
from ...tensors import Tensors

IN_MEMORY_BYTES = 64 * 2**20  # what is past this waits on disk, so that the server's memory does not grow with clients
CHUNK = 2**20  # values that are compared at once, in float64


@dataclass(frozen=True)
class Sums:
    """What norms, cosines and distances of two vectors x and y are made of; sums over parts add up to those of the whole."""

    product: float = 0.0  # sum of x y
    left: float = 0.0  # sum of x^2
    right: float = 0.0  # sum of y^2
    between: float = 0.0  # sum of (x - y)^2: made of the others it would lose its digits where x and y are close

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))

    @property
    def cosine(self) -> float:
        """Return x y / |x| |y|; NaN if one of them is zero."""
        lengths = math.sqrt(self.left) * math.sqrt(self.right)
        return self.product / lengths if lengths else float("nan")


class Aside:
    """Keeps float32 values for each client in the order of names, in memory up to 64 MiB and then in a temporary file."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 (closed in `compare`)
        self._clients: list[ClientId] = []

    def put(self, client: ClientId, tensors: Tensors) -> None:
        """Put aside one client's tensors; names and shapes are the same for all clients."""
        for name in sorted(tensors):
            self._file.write(tensors[name].detach().float().contiguous().numpy().data.cast("B"))
        self._clients.append(client)

    def compare(self, centre: Tensors) -> Iterator[tuple[ClientId, Mapping[str, Sums]]]:
        """Yield per client, in the order of `put`, how its tensors lie to those of `centre`; once, after which nothing is kept.

        Args:
            centre: named and shaped as what was put aside.
        """
        self._file.seek(0)
        for client in self._clients:
            yield client, {name: self._sums(centre[name].detach().float().reshape(-1).numpy()) for name in sorted(centre)}
        self._file.close()

    def each(self, shapes: Mapping[str, Sequence[int]]) -> Iterator[tuple[ClientId, dict[str, Tensor]]]:
        """Yield each client's tensors, float32, in the order of `put`; once, after which nothing is kept.

        Args:
            shapes: of what was put aside, by name.
        """
        self._file.seek(0)
        for client in self._clients:
            yield client, {name: self._read(shapes[name]) for name in sorted(shapes)}
        self._file.close()

    def _read(self, shape: Sequence[int]) -> Tensor:
        values = np.frombuffer(self._file.read(math.prod(shape) * 4), dtype=np.float32)
        return torch.from_numpy(values.copy()).reshape(tuple(shape))

    def _sums(self, centre: np.ndarray) -> Sums:
        total = Sums()
        for start in range(0, centre.size, CHUNK):
            right = centre[start : start + CHUNK].astype(np.float64)
            left = np.frombuffer(self._file.read(right.size * 4), dtype=np.float32).astype(np.float64)
            total += Sums(*(float(a @ b) for a, b in ((left, right), (left, left), (right, right), (left - right,) * 2)))
        return total
