"""How much the clients differ in what they have."""

from collections import Counter
from collections.abc import Sequence

import numpy as np


def mean_divergence(values: Sequence[str], parts: Sequence[Sequence[int]]) -> float:
    """Return the Jensen-Shannon divergence of the clients' shares of each value, in bits, averaged over all pairs of clients.

    0 if all clients are alike (or there is one), 1 if no two share a value. Source: Lin, 1991, IEEE Trans. Inf. Theory 37(1), section IV:
    H((p + q) / 2) - (H(p) + H(q)) / 2. Pairs are summed value by value, so that memory grows with what clients have, and not with their pairs.

    Args:
        values: of all rows.
        parts: the rows of each client, at least one.
    """
    clients = len(parts)
    if clients < 2:
        return 0.0
    shares: dict[str, list[float]] = {}  # of each value, at those clients that have it
    for rows in parts:
        for value, count in Counter(values[row] for row in rows).items():
            shares.setdefault(value, []).append(count / len(rows))
    own = sum(float(_terms(np.asarray(have)).sum()) for have in shares.values()) / clients
    mixed = sum(_over_pairs(np.asarray(have), clients) for have in shares.values()) / (clients * (clients - 1) / 2)
    return float(np.clip(mixed - own, 0.0, 1.0))  # sums of logarithms stray by 1e-15


def _over_pairs(shares: np.ndarray, clients: int) -> float:
    """Return the sum over all pairs of clients of one value's term in H((p + q) / 2).

    Args:
        shares: of the value at those clients that have it; clients with equal shares are counted together.
    """
    distinct, times = np.unique(shares, return_counts=True)
    total = float((clients - len(shares)) * (times @ _terms(distinct / 2)))  # pairs of which one has none
    for place, (share, alike) in enumerate(zip(distinct.tolist(), times.tolist(), strict=True)):
        others = times[place + 1 :] @ _terms((share + distinct[place + 1 :]) / 2)
        total += alike * float(others) + alike * (alike - 1) / 2 * float(_terms(np.asarray(share)))
    return total


def _terms(shares: np.ndarray) -> np.ndarray:
    """Return -p log2 p of shares above 0."""
    found: np.ndarray = -shares * np.log2(shares)
    return found
