"""How far the clients of a round pull apart."""

import tempfile
from collections.abc import Mapping
from typing import IO

import numpy as np

from ..records import ClientId
from ..tensors import Tensors, flatten

IN_MEMORY_BYTES = 64 * 2**20  # updates past this wait on disk, so that the server's memory does not grow with clients


class DriftMeter:
    """Holds one round's updates aside until their mean is known, then compares each with it."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 (closed in `measure`)
        self._clients: list[ClientId] = []

    def add(self, client: ClientId, delta: Tensors) -> None:
        """Put aside one client's update."""
        self._file.write(flatten(delta).numpy().tobytes())
        self._clients.append(client)

    def measure(self, mean: Tensors) -> dict[ClientId, Mapping[str, float]]:
        """Return per client the update's norm, its cosine with the mean update, and drift = |update - mean| / |mean|."""
        centre = flatten(mean).numpy().astype(np.float64)
        length = float(np.linalg.norm(centre))
        self._file.seek(0)
        rows: dict[ClientId, Mapping[str, float]] = {}
        for client in self._clients:
            delta = np.frombuffer(self._file.read(centre.size * 4), dtype=np.float32).astype(np.float64)
            own = float(np.linalg.norm(delta))
            rows[client] = {
                "update_norm": own,
                "cosine": float(delta @ centre) / (own * length) if own * length else float("nan"),
                "drift": float(np.linalg.norm(delta - centre)) / length if length else float("nan"),
            }
        self._file.close()
        return rows
