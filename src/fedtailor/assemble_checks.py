"""Whether the parts of a job go together, found out before anything is done."""

from collections.abc import Callable, Collection

from .data.divide import OVER_LIMIT, Divided
from .errors import SettingError
from .interfaces import Control
from .job import Job
from .learning.worker import Worker
from .tensors import Tensors

Warn = Callable[[str], None]


def home_weights(job: Job, worker: Worker, divided: Divided) -> frozenset[str]:
    """Return the names of the weights that stay home.

    Raises:
        SettingError: naming the pair, if the personalization does not fit the tuning, the aggregation or the data.
    """
    kind = f"personalization: {job.personalization.kind}"
    names = list(worker.tensors())
    try:
        home = job.personalization.stays_home(names)
        job.personalization.check(own_validation=any(divided.validation.values()))
    except SettingError as error:
        raise SettingError(f"{kind}, tuning: {job.tuning.kind}: {error}") from None
    if not home:
        return home
    if set(names) != set(worker.params):
        raise SettingError(
            f"{kind} does not go with tuning: {job.tuning.kind}, which sends something made of its weights ({min(names)!r}): weights that "
            "stay home are trained weights; let the tuning send its weights (prefix: exchange: network), or choose finetune or ditto"
        )
    if isinstance(job.protocol.aggregation, Control):
        raise SettingError(
            f"{kind} does not go with aggregation: {job.protocol.aggregation.kind}: control variates belong to weights that "  # type: ignore[attr-defined]
            "everybody shares; choose aggregation: fedavg, or personalization: finetune"
        )
    if divided.server_validation and (job.stop.patience is not None or job.stop.keep == "best"):
        raise SettingError(
            f"{kind} does not go with data.validation: a public set is measured at the server, which lacks the weights that stay home, so "
            "nothing tells when to stop; leave data.validation out, or set stop: {patience: null, keep: last}"
        )
    return home


def check_fit(job: Job, shared: Tensors, trained: Collection[str]) -> None:
    """Raise SettingError, naming the pair, if the protocol's aggregation cannot work on what the tuning trains."""
    try:
        job.protocol.check(shared, trained)
    except SettingError as error:
        pair = f"protocol.aggregation: {getattr(job.protocol.aggregation, 'kind', '')} does not go with tuning: {job.tuning.kind}"
        raise SettingError(f"{pair}; {error}") from None


def tell_what_is_missing(divided: Divided, warn: Warn) -> None:
    """Warn about examples that were left out, that stand on both sides, and about parts that nobody has."""
    for reason, number in divided.dropped.items():
        if number and reason != OVER_LIMIT:  # what the job asked for is no news
            warn(f"{number} training examples are left out: {reason}")
    for part, number in divided.overlap.items():
        warn(f"{number} inputs of the {part} file stand in the training data too: its figures flatter the model")
    if not (divided.server_validation or any(divided.validation.values())):
        warn(
            "nobody has validation examples: stop.patience and stop.keep: best have nothing to go by, and the last round is kept"
        )
    if not (divided.server_test or any(divided.test.values())):
        warn("nobody has test examples: the figures are those of the validation examples")
