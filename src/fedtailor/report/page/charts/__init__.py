"""The charts of a run, in the order of the page; each returns None where the run has nothing to show."""

from collections.abc import Callable, Sequence

from ...read import Run
from .chart import Chart
from .clients import gains, losses_by_client, partition
from .costs import bytes_by_round, seconds_by_round
from .owned import owned
from .quality import convergence
from .training import likeness, local_gain
from .worth import against_bytes

CHARTS: Sequence[Callable[[Run], Chart | None]] = (
    convergence,
    gains,
    local_gain,
    likeness,
    losses_by_client,
    partition,
    owned,
    against_bytes,
    bytes_by_round,
    seconds_by_round,
)

__all__ = ["CHARTS", "Chart"]
