"""How much the clients differ in what they have."""

from collections.abc import Sequence

import numpy as np


def mean_divergence(values: Sequence[str], parts: Sequence[Sequence[int]]) -> float:
    """Return the Jensen-Shannon divergence of the clients' shares of each value, in bits, averaged over all pairs of clients.

    0 if all clients are alike (or there is one), 1 if no two share a value. Source: Lin, 1991, IEEE Trans. Inf. Theory 37(1), section IV.
    """
    number = {value: place for place, value in enumerate(sorted(set(values)))}
    shares = np.zeros((len(parts), len(number)))
    for client, rows in enumerate(parts):
        np.add.at(shares[client], [number[values[row]] for row in rows], 1 / len(rows))
    if len(parts) < 2:
        return 0.0
    pairs = []
    for client in range(len(parts) - 1):
        one, others = shares[client], shares[client + 1 :]
        pairs.append(_entropy((one + others) / 2) - (_entropy(one) + _entropy(others)) / 2)
    return float(np.clip(np.concatenate(pairs).mean(), 0.0, 1.0))  # sums of logarithms stray by 1e-15


def _entropy(shares: np.ndarray) -> np.ndarray:
    """Return the entropy in bits of each row of shares [..., values]."""
    safe = np.where(shares > 0, shares, 1.0)
    total: np.ndarray = -(safe * np.log2(safe)).sum(axis=-1)
    return total
