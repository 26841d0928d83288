"""Clients whose backbone is another than the job's: a model, a tokenizer and a worker of their own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from ..data.divide import Divided
from ..errors import FedtailorError, SettingError
from ..job import Job
from ..learning.worker import Worker
from ..models import Backbone, load_backbone, unround
from ..models.device import Precision
from ..records import ClientId
from ..tasks import pooling_of
from ..tasks.text.room import context
from ..tuning import LoraAmong, written


@dataclass(frozen=True, kw_only=True)
class OwnModel:
    """What a client has in the place of the job's backbone, with the job's tuning around it."""

    backbone: Backbone
    worker: Worker


def own_models(
    job: Job,
    worker: Worker,
    divided: Divided,
    *,
    precision: Precision,
    trust_times: bool = False,
    warn: Callable[[str], None],
) -> dict[ClientId, OwnModel]:
    """Return the models of the clients that have one of their own; each backbone is loaded once, and those of one rank and alpha share a worker.

    Args:
        worker: the server's; task, evaluation, device and seed are its.
        divided: clients elsewhere have their models there.
        warn: called with a sentence about a head whose rows were moved or drawn again.

    Raises:
        SettingError: naming the client, if the protocol has one model for all, or the tuning does not fit its backbone.
        BackboneError: if a backbone cannot be found or read.
    """
    clients_of: dict[str, list[ClientId]] = {}
    for client, name in _named(job).items():
        if client not in divided.elsewhere:
            clients_of.setdefault(name, []).append(client)
    found: dict[ClientId, OwnModel] = {}
    for name, clients in clients_of.items():
        tunings = _tunings(job, clients)
        load = partial(_load, job, name, worker, precision, trust_times=trust_times)
        made: dict[Any, OwnModel] = {}
        for client in clients:
            tuning = tunings[client]
            if tuning not in made:
                with _naming(client):
                    made[tuning] = _beside(next(iter(made.values())), tuning) if made else load(tuning)
            found[client] = made[tuning]
        first = found[clients[0]]
        if len(made) > 1:
            first.worker.tuning.attach(first.worker.model, job.seed)  # it is active again
        if first.backbone.note:
            warn(f"{name}: {first.backbone.note}")
    return found


def _named(job: Job) -> dict[ClientId, str]:
    """Return the backbones that `clients.overrides` names; that its clients exist is checked with their ranks."""
    named = {client: own.backbone for client, own in sorted(job.clients.overrides.items()) if own.backbone is not None}
    if not named or job.protocol.apart:
        return named
    client, name = next(iter(named.items()))
    settings = job.to_dict()["protocol"]
    rule = f", aggregation: {settings['aggregation']['kind']}" if settings["kind"] == "distillation" else ""
    raise SettingError(
        f"clients.overrides.{client}.backbone is {name!r}, and with protocol: {settings['kind']}{rule} weights are averaged, so all have one backbone; "
        "choose protocol: distillation with aggregation: mean, or leave the override out"
    )


def _load(job: Job, name: str, worker: Worker, precision: Precision, tuning: Any, *, trust_times: bool) -> OwnModel:
    backbone = load_backbone(
        name,
        kind=worker.task.backbone,
        labels=worker.task.labels_of(()),
        pooling=pooling_of(worker.task),
        precision="float32"
        if written(job.tuning).every_weight and precision == "bfloat16"
        else precision,  # as for the job's own
        device=worker.device,
        base=job.base,
        seed=job.seed,
        trust_times=trust_times,
    )
    context(backbone.model)  # measured before anything is attached to it
    model = tuning.attach(backbone.model, job.seed)
    if precision != "float32":
        unround(model, tuning.parameters(model), backbone.folder)
    return OwnModel(
        backbone=backbone, worker=replace(worker, model=model, processor=backbone.processor, tuning=tuning, remember=False)
    )


def _beside(first: OwnModel, tuning: Any) -> OwnModel:
    """Return the same backbone with an adapter of another rank or alpha beside the first one."""
    model = tuning.attach(first.worker.model, first.worker.seed)
    return replace(first, worker=replace(first.worker, model=model, tuning=tuning))


@contextmanager
def _naming(client: ClientId) -> Iterator[None]:
    try:
        yield
    except FedtailorError as error:
        raise type(error)(f"clients.overrides.{client}.backbone: {error}") from None


def _tunings(job: Job, clients: Sequence[ClientId]) -> dict[ClientId, Any]:
    """Return the tunings of the clients of one backbone: where they differ in rank or alpha, each is one adapter among several."""
    plain = {client: _tuning(job, client) for client in clients}
    distinct = list(dict.fromkeys(plain.values()))
    if len(distinct) == 1:
        return plain
    first, *others = distinct
    among = {first: LoraAmong(tuning=first)}
    among |= {other: LoraAmong(tuning=other, adapter=f"rank{other.rank}x{place}") for place, other in enumerate(others)}
    return {client: among[tuning] for client, tuning in plain.items()}


def _tuning(job: Job, client: ClientId) -> Any:
    """Return the job's tuning with what the client says otherwise; a start that was trained before is that of the job's backbone."""
    own = job.clients.overrides[client].tuning
    tuning: Any = job.tuning
    known = {field.name for field in fields(tuning)}
    changes: Mapping[str, object] = {"rank": own.rank, "alpha": own.alpha}
    changed = {key: value for key, value in changes.items() if value is not None}
    return replace(tuning, **changed, **({"initial": None} if "initial" in known else {}))
