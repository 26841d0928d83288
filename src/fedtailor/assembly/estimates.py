"""What a run costs, estimated before anything is done."""

from functools import partial
from pathlib import Path

from ..job import Job
from ..learning.worker import Worker
from ..ledger import Sizes
from ..models import Backbone
from ..protocols import Ready
from ..protocols.personal import personal_length
from ..records import ClientId, Cost
from ..tensors import Tensors, count, size_bytes
from ..tuning import written
from .calls import shaped
from .clients import Clients, Own
from .examples import Examples
from .parts import Parts
from .server_model import Models


def clients_of(
    job: Job, protocol: Ready, models: Models, examples: Examples, folder: Path | None, *, share: float, validated: bool
) -> Clients:
    """Return the clients of a run, with what costs depend on; arguments as in `sizes_of`."""
    sizes = partial(sizes_of, job, protocol, share=share, validated=validated)
    ranked = {
        client: Own(
            worker=models.own_workers[client],
            sizes=sizes(models.backbone, models.own_workers[client], rank.cut(models.shared)),
        )
        for client, rank in models.of_clients.items()
    }
    others = {
        client: Own(worker=own.worker, sizes=sizes(own.backbone, own.worker, models.shared), backbone=own.backbone)
        for client, own in models.own.items()
    }
    tasked = {
        client: Own(worker=models.own_workers[client], sizes=sizes(models.backbone, models.own_workers[client], models.shared))
        for client in models.tasks
        if client not in ranked
    }
    return Clients(
        amounts=examples.amounts,
        prepare=examples.prepare,
        alike=Own(worker=models.worker, sizes=sizes(models.backbone, models.worker, models.shared)),
        differing={**ranked, **others, **tasked},
        folder=folder,
        private=examples.private,
        retained=examples.retained,
    )


def sizes_of(
    job: Job, protocol: Ready, backbone: Backbone, worker: Worker, shared: Tensors, *, share: float, validated: bool
) -> Sizes:
    """Return what costs depend on; `share` is that of the clients which a round asks, `validated` whether they have validation parts."""
    return Sizes(
        body_parameters=backbone.body_parameters,
        backbone_bytes=size_bytes(dict(backbone.model.state_dict())),
        trained=count(worker.params),
        shared_bytes=personal_length(shared),
        rounds=max(1, round(job.stop.rounds * share)),
        full=written(job.tuning).every_weight,
        **protocol.sizes(shared, rounds=job.stop.rounds, validated=validated, shape=partial(shaped, job)),
    )


def message_bytes(parts: Parts, shared: Tensors) -> tuple[int, int]:
    """Return the bytes that a client which trains `shared` sends and gets in a round."""
    sizes = parts.protocol.sizes(shared, rounds=parts.job.stop.rounds, validated=False, shape=partial(shaped, parts.job))
    return sizes["up_bytes"], sizes["down_bytes"]


def estimate(parts: Parts) -> dict[ClientId, Cost]:
    """Return what each client spends in one round, before anything is done; of clients elsewhere, as if their texts had no tokens."""
    costs = {}
    for info in parts.sampler.clients:
        costs[info.id] = parts.protocol.of_client(info.id).cost(
            parts.clients.sizes_of(info.id),
            examples=info.examples,
            tokens_per_example=parts.clients.amounts[info.id].tokens_per_example,
        )
    return costs
