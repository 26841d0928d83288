"""What a round's local training gains at each client: the loss on its validation part before and after."""

from collections.abc import Callable, Sequence

from ..assembly import Parts
from ..messages.rows import of_round, worked
from ..metrics.figure import LOSS_AFTER, LOSS_BEFORE, SAMPLE_LOSS
from ..tuning import begins_elsewhere
from .progress import Progress


def wanted_in(parts: Parts, progress: Progress) -> Callable[[int], Sequence[str]]:
    """Return what says for a round, by its number, which losses its clients are to measure: in rounds that are evaluated.

    What a client starts from was measured where the round before was evaluated, and travels as it was measured. What it ends with is
    measured by the evaluation that follows where that is of its own model.
    """
    job = parts.job

    def wanted(index: int) -> Sequence[str]:
        evaluated = index % job.evaluation.every == 0 or index == job.stop.rounds
        if not (
            evaluated and parts.measures_gain and _measured(progress, 0)
        ):  # without a validation part there is nothing to measure
            return ()
        before = () if _known(parts, progress, index - 1) else ("before",)
        return before if parts.protocol.own_models else (*before, "after")

    return wanted


def fill_gain(parts: Parts, progress: Progress, index: int) -> None:
    """Write into the round's rows of clients what evaluations have measured of the weights that training began and ended with."""
    if not parts.measures_gain:
        return
    columns = {LOSS_BEFORE: _known(parts, progress, index - 1)}
    if parts.protocol.own_models:
        columns[LOSS_AFTER] = _known(parts, progress, index)
    for row in of_round(progress.rows["clients"], index):
        work = worked(row)
        if work is not None:
            row |= {name: known[work.client] for name, known in columns.items() if name not in row and work.client in known}


def _known(parts: Parts, progress: Progress, round: int) -> dict[str, float]:
    """Return each client's loss after a round, on the rows that its gain is measured on; empty where weights travel otherwise than they were measured, or
    where round 0 was measured of the backbone alone."""
    if round == 0 and begins_elsewhere(parts.worker.model):
        return {}
    if not parts.protocol.own_models and parts.protocol.settings.dtype != "float32":
        return {}
    return _measured(progress, round)


def _measured(progress: Progress, round: int) -> dict[str, float]:
    found: dict[str, float] = {}
    known = progress.known(round)
    for scope in ("client-validation", "personal-validation"):
        for client, figures in known.get(scope, {}).items():
            if (loss := figures.get(SAMPLE_LOSS, figures.get("loss"))) is not None:
                found[client] = loss
    return found
