"""What a run costs, estimated before anything is done."""

from collections.abc import Mapping
from functools import partial

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
from .parts import Parts
from .server_model import Models


def own_sizes(job: Job, protocol: Ready, models: Models, *, share: float, validated: bool) -> Mapping[ClientId, Sizes]:
    """Return what the costs of each client depend on that has another model or rank; arguments as in `sizes_of`."""
    sizes = partial(sizes_of, job, protocol, share=share, validated=validated)
    ranked = {
        client: sizes(models.backbone, models.own_workers[client], rank.cut(models.shared))
        for client, rank in models.of_clients.items()
    }
    return ranked | {client: sizes(own.backbone, own.worker, models.shared) for client, own in models.own.items()}


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


def estimate(parts: Parts) -> dict[ClientId, Cost]:
    """Return what each client spends in one round, before anything is done; of clients elsewhere, as if their texts had no tokens."""
    costs = {}
    for info in parts.sampler.clients:
        lengths = parts.states[info.id].train.sizes_N
        tokens = float(lengths.float().mean()) if len(lengths) else 0.0
        costs[info.id] = parts.protocol.of_client(info.id).cost(
            parts.sizes_of(info.id), examples=info.examples, tokens_per_example=tokens
        )
    return costs
