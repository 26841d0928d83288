"""Whether the parts of a job go together, found out before anything is done."""

import os
from collections.abc import Callable, Collection, Iterator, Sequence

from torch import nn

from ..data.divide import Divided
from ..data.left_out import OVER_LIMIT, REPEATED
from ..errors import SettingError
from ..interfaces import traits_of
from ..job import Job
from ..learning.worker import Worker
from ..models import Backbone, reads_mean, trained_for_mean
from ..models.kinds import kind_of
from ..models.kinds.denoiser import made_of
from ..personalization import dual_of
from ..protocols import Settings
from ..records import ClientInfo, Example
from ..tasks import Task, pooling_of
from ..tasks.asked import at_home
from ..tensors import Tensors
from ..tuning import notes_of

Warn = Callable[[str], None]
DOMINANT = 0.9  # share of all examples from which one client decides nearly every average
WHY = {REPEATED: "they repeat an earlier one (of the same client, where the data name the clients)"}  # reasons, said in full


def checked_threads(threads: int) -> int:
    """Return the number of threads if this machine can be asked for it; a job of another machine may have a few times what is here.

    Raises:
        SettingError: if it is far beyond the processors of this machine.
    """
    here = os.cpu_count() or 1
    most = max(64, 4 * here)
    if threads > most:
        raise SettingError(f"threads is {threads}, and this machine has {here} processors; set at most {most}, or auto")
    return threads


def home_weights(job: Job, worker: Worker, divided: Divided) -> frozenset[str]:
    """Return the names of the weights that stay home.

    Raises:
        SettingError: naming the pair, if the personalization does not fit the tuning, the aggregation or the data; or if nothing would be shared.
    """
    names = list(worker.tensors())
    try:
        own = job.personalization.stays_home(names)
        job.personalization.check(own_validation=divided.may_have("validation"))
    except SettingError as error:
        raise SettingError(f"personalization: {job.personalization.kind}, tuning: {job.tuning.kind}: {error}") from None
    home = own | at_home(worker.task, names)
    if not home:
        return home
    if set(names) != set(worker.params) and not own:
        raise SettingError(
            f"task.discriminator: home does not go with aggregation: {getattr(job.protocol.aggregation, 'kind', '')}, under which something made of the "
            "trained weights is sent; set task.discriminator: averaged, or choose aggregation: fedavg"
        )
    if set(names) != set(worker.params):
        raise SettingError(
            f"personalization: {job.personalization.kind} does not go with tuning: {job.tuning.kind}, which sends something made of its weights ({min(names)!r}): weights that "
            "stay home are trained weights; let the tuning send its weights (prefix: exchange: network), or choose finetune or ditto"
        )
    _check_judged(job, divided)
    return home


def attach_second(job: Job, model: nn.Module) -> None:
    """Put a second adapter beside the first, if the personalization has one."""
    dual = dual_of(job.personalization)
    if dual is not None:
        dual.attach(model, seed=job.seed)


def fitting_protocol(job: Job, task: Task, divided: Divided, *, clients: int) -> Settings:
    """Return the job's protocol, with the aggregation that the personalization needs, if it needs one of its own.

    Args:
        clients: that train.

    Raises:
        SettingError: naming the pair, if the personalization does not fit the rest of the job.
    """
    dual, protocol = dual_of(job.personalization), job.protocol
    if dual is None:
        return protocol
    kind = f"personalization: {job.personalization.kind}"
    try:
        dual.fits(task=task, tuning=job.tuning, local=protocol.local, wire=protocol.dtype, clients=clients)
    except SettingError as error:
        raise SettingError(f"{kind}: {error}") from None
    if dual.last_round:
        _check_judged(job, divided)
    rule = dual.rule(clients)
    return protocol if rule is None else protocol.with_rule(rule)


def _check_judged(job: Job, divided: Divided) -> None:
    """Raise SettingError if rounds are to be judged where clients' own weights are not."""
    if divided.server_validation and (job.stop.patience is not None or job.stop.keep == "best"):
        raise SettingError(
            f"personalization: {job.personalization.kind} does not go with data.validation: a public set is measured at the server, which lacks "
            "the clients' own weights, so nothing says when to stop; leave data.validation out, or set stop: {patience: null, keep: last}"
        )


def check_fit(job: Job, shared: Tensors, trained: Collection[str], home: Collection[str], warn: Warn) -> None:
    """Raise SettingError, naming the pair, if the protocol's aggregation cannot work on what is shared, or with what clients keep.

    Args:
        shared: what is exchanged.
        trained: names of the shared weights under training.
        home: names of the weights that stay with the clients.
        warn: called with a sentence about what works, but does little good.
    """
    rule = job.protocol.aggregation
    name = f"protocol.aggregation: {getattr(rule, 'kind', '')}"
    try:
        job.protocol.check(shared, trained)
    except SettingError as error:
        pair = f"personalization: {job.personalization.kind}" if home else f"tuning: {job.tuning.kind}"
        raise SettingError(f"{name} does not go with {pair}; {error}") from None
    if not traits_of(rule).refactors:
        return
    if job.protocol.local.keep_optimizer:
        warn(
            f"{name} factors the shared adapter again each round: the moments that keep_optimizer keeps are those of other factors"
        )


def everybodys(divided: Divided) -> Iterator[Example]:
    """Yield all examples of clients and of public files."""
    for part in (divided.train, divided.validation, divided.test):
        for own in part.values():
            yield from own
    yield from (*divided.server_validation, *divided.server_test)


def advise(job: Job, backbone: Backbone, model: nn.Module, divided: Divided, warn: Warn) -> None:
    """Report a setting that does nothing, one that would suit the backbone better, and what was done with heads and starts.

    Args:
        model: the backbone's, with the tuning in place.
    """
    if job.evaluation.local_only and not job.personalization.personal:
        warn(
            "evaluation.local_only has no effect without personalization, whose table it adds to; for each client alone run --baseline local"
        )
    if kind_of(backbone.kind).causal and job.protocol.local.head_learning_rate is not None:
        warn("protocol.local.head_learning_rate has no effect: a language model has no head for classes")
    if "class_layer" in vars(backbone.model) and trained_for_mean(backbone.folder) and not reads_mean(backbone.model):
        warn(
            f"{backbone.name} was trained so that the mean over tokens stands for a text, and its classifier reads something else; "
            "task: {kind: classification, pooling: mean} begins with what it was trained for"
        )
    if reads_mean(backbone.model) and pooling_of(job.task) != "mean":
        warn(f"{backbone.name} was written with task.pooling: mean, and is read so here too")
    if backbone.note:
        warn(f"{backbone.name}: {backbone.note}")
    if (known := made_of(backbone.folder)) and (seen := sum(str(e.fields.get("image")) in known for e in everybodys(divided))):
        warn(
            f"{backbone.name} was made of {seen:,} of the pictures of clients and test files too: its figures before and after flatter it"
        )
    for note in notes_of(model):
        warn(note)


def warn_of_what_is_missing(divided: Divided, warn: Warn, *, measured: bool = True) -> None:
    """Warn about examples that were left out, that stand on both sides, and about parts that nobody has, if clients are to measure on them."""
    for reason, number in divided.dropped.items():
        if number and reason != OVER_LIMIT:  # what the job asked for is no news
            warn(f"{number:,} training examples are left out: {WHY.get(reason, reason)}")
    for note in divided.notes:
        warn(note)
    for part, number in divided.overlap.items():
        warn(f"{number} inputs of the {part} file stand in the training data too: its figures flatter the model")
    if not measured:
        return
    if not (divided.server_validation or divided.may_have("validation")):
        warn(
            "nobody has validation examples: stop.patience and stop.keep: best have nothing to go by, and the last round is kept"
        )
    if not (divided.server_test or divided.may_have("test")):
        warn("nobody has test examples: the figures are those of the validation examples")


def check_sizes(job: Job, infos: Sequence[ClientInfo], warn: Warn) -> None:
    """Warn if one client decides nearly every average; raise SettingError if one has more examples than the job takes of any."""
    most = job.clients.most_examples
    for info in infos:
        if most is not None and info.examples > most:
            raise SettingError(
                f"client {info.id!r} has {info.examples:,} training examples, and clients.most_examples is {most:,}; raise it, leave it out, or "
                "divide the data otherwise"
            )
    largest, total = max(infos, key=lambda info: info.examples), sum(info.examples for info in infos)
    if len(infos) > 2 and largest.examples > DOMINANT * total and job.clients.most_weight > DOMINANT:
        warn(
            f"client {largest.id!r} has {largest.examples / total:.0%} of all training examples, and weighs as much in averages; "
            "clients.most_weight: 0.5 bounds the share of one client"
        )
