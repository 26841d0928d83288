"""What looks at the rounds of a run."""

from ...interfaces import Compared, Observer
from ...learning.worker import Worker
from .drift import Drift, Likeness
from .products import ProductDrift


def observers_of(worker: Worker, *, refactors: bool = False) -> tuple[Observer, ...]:
    """Return what looks at drift, and at likeness where the tuning says what is compared.

    Args:
        worker: the server's.
        refactors: whether the rule of aggregation writes the same product as other factors each round, so that factors cannot be compared.
    """
    drift: Observer = ProductDrift() if refactors else Drift()
    return (drift, Likeness(worker)) if isinstance(worker.tuning, Compared) else (drift,)
