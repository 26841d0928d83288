"""What local training gains in a round, and what averaging takes back of it."""

from collections import defaultdict
from collections.abc import Mapping
from statistics import fmean

from ..read import Run

BEFORE, AFTER = "validation_before", "validation_after"  # columns of clients.parquet


def both_losses(run: Run) -> dict[int, dict[str, tuple[float, float]]]:
    """Return, by round and client, the validation loss before and after local training, where both were measured."""
    losses: dict[int, dict[str, tuple[float, float]]] = defaultdict(dict)
    for round, client, before, after in zip(*run.columns("clients", "round", "client", BEFORE, AFTER), strict=True):
        if isinstance(before, int | float) and isinstance(after, int | float):
            losses[round][client] = before, after
    return dict(losses)


def taken_back(losses: Mapping[int, Mapping[str, tuple[float, float]]], round: int) -> float | None:
    """Return the mean rise from a client's own loss after a round to that of the average, with which the next one begins; None if no next is known."""
    then = losses.get(round + 1, {})
    rises = [then[client][0] - after for client, (_, after) in losses[round].items() if client in then]
    return fmean(rises) if rises else None
