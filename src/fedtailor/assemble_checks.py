"""Whether the parts of a job go together, found out before anything is done."""

from collections.abc import Collection

from .data.divide import Divided
from .errors import SettingError
from .interfaces import Control
from .job import Job
from .learning.worker import Worker
from .protocols import Averaging, Split
from .protocols.split import BoundSplit
from .tensors import Tensors

ACROSS_A_CUT = ("none", "fedper")  # personalizations that train only what the protocol trains


def home_weights(job: Job, worker: Worker, divided: Divided) -> frozenset[str]:
    """Return the names of the weights that stay home.

    Raises:
        SettingError: naming the pair, if the personalization does not fit the tuning, the aggregation or the data.
    """
    kind = f"personalization: {job.personalization.kind}"
    if isinstance(job.protocol, Split) and job.personalization.kind not in ACROSS_A_CUT:
        raise SettingError(
            f"{kind} does not go with protocol: split: a client has only a part of the model to train; choose personalization: fedper with "
            "home weights of the client's part (client halves of their own, as in SplitFed V3), or none"
        )
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


def check_fit(job: Job, protocol: Averaging | BoundSplit, shared: Tensors, trained: Collection[str]) -> None:
    """Raise SettingError, naming the pair, if the protocol's aggregation cannot work on what the tuning trains."""
    try:
        protocol.check(shared, trained)
    except SettingError as error:
        pair = f"protocol.aggregation: {getattr(job.protocol.aggregation, 'kind', '')} does not go with tuning: {job.tuning.kind}"
        raise SettingError(f"{pair}; {error}") from None
