"""What local training gains in a round, and what averaging takes back of it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from statistics import fmean

from ...metrics.figure import LOSS_AFTER, LOSS_BEFORE
from ..read import Run
from ..wording import figure


def both_losses(run: Run) -> dict[int, dict[str, tuple[float, float]]]:
    """Return, by round and client, the validation loss before and after local training, where both were measured."""
    losses: dict[int, dict[str, tuple[float, float]]] = defaultdict(dict)
    for round, client, before, after in zip(*run.columns("clients", "round", "client", LOSS_BEFORE, LOSS_AFTER), strict=True):
        if isinstance(before, int | float) and isinstance(after, int | float):
            losses[round][client] = before, after
    return dict(losses)


def taken_back(losses: Mapping[int, Mapping[str, tuple[float, float]]], round: int) -> float | None:
    """Return the mean rise from a client's own loss after a round to that of the average, with which the next one begins; None if no next is known."""
    then = losses.get(round + 1, {})
    rises = [then[client][0] - after for client, (_, after) in losses[round].items() if client in then]
    return fmean(rises) if rises else None


def gain_line(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what a round's local training gains on the clients' validation parts, before averaging."""
    measured = (run.summary.get("evaluation") or {}).get("local_gain")
    if measured is False and run.summary.get("trainable_parameters"):
        yield "local gain", "not measured: evaluation.local_gain is off, or clients train only a part of a model"
    if not measured or run.alone:
        return
    gains = [
        before - after for before, after in zip(*run.columns("clients", LOSS_BEFORE, LOSS_AFTER), strict=True) if before and after
    ]
    if gains:
        mean = sum(gains) / len(gains)
        yield "local gain", f"{figure('loss', mean)} of validation loss, mean over clients and rounds"
