"""The models of a run: the server's, with the tuning in place, and those of clients that differ from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from ..data.divide import Divided
from ..errors import within
from ..federation.ranked import RankOf
from ..job import Job
from ..learning.worker import Worker
from ..models import Backbone, Precision, choose_device, choose_precision, load_backbone, unround
from ..models.kinds import kind_of
from ..personalization import dual_of
from ..records import ClientId
from ..tasks import Task, pooling_of
from ..tasks.evaluation import Evaluation
from ..tasks.text.room import check_lengths, context
from ..tensors import Tensors
from ..tuning import written
from ..tuning.asked import initial_of
from .fits import Warn, advise, attach_second, check_fit, home_weights
from .memory import within_memory
from .own_backbones import OwnModel, own_models
from .own_tasks import fitting_evaluation
from .ranks import Ranks, choose_ranks


@dataclass(frozen=True, kw_only=True)
class Models:
    """What a run trains."""

    backbone: Backbone
    worker: Worker  # the server's, which all clients share that do not differ
    ranks: Ranks
    shared: Tensors  # the exchanged weights
    precision: Precision
    evaluation: Evaluation  # of the job
    own: Mapping[ClientId, OwnModel]  # of clients with a backbone of their own
    tasks: Mapping[ClientId, Task]  # of clients with a task of their own

    @cached_property
    def own_workers(self) -> Mapping[ClientId, Worker]:
        """Workers of the clients that have another backbone or task, or LoRA of another rank."""
        found = {**self.ranks.workers(self.worker), **{client: own.worker for client, own in self.own.items()}}
        made: dict[tuple[int, int], Worker] = {}
        for client, task in self.tasks.items():
            below = found.get(client, self.worker)
            key = (id(below), id(task))
            if key not in made:
                made[key] = replace(below, task=task, evaluation=fitting_evaluation(self.evaluation, task, alone=False))
            found[client] = made[key]
        return found

    @cached_property
    def of_clients(self) -> Mapping[ClientId, RankOf]:
        """Rank and scale of each client whose LoRA has another rank."""
        return self.ranks.of_clients()

    @property
    def most_rank(self) -> int | None:
        """The largest rank of LoRA, if ranks differ among clients."""
        return int(self.ranks.shared.tuning.rank) if self.of_clients or self.ranks.auto else None

    @cached_property
    def by_rank(self) -> Mapping[int, Worker]:
        """A worker for each rank that the server may choose; empty where it chooses none."""
        return self.ranks.by_rank(self.worker)

    def worker_of(self, client: ClientId) -> Worker:
        """Return the worker that a client works with."""
        return self.own_workers.get(client, self.worker)


def load_models(
    job: Job, task: Task, divided: Divided, tasks: Mapping[ClientId, Task], *, begun: bool, trust_times: bool, warn: Warn
) -> Models:
    """Load the backbones and put the tuning in place; arguments as in `assemble`.

    Raises:
        JobError: if a backbone is not usable, or something does not go with it.
    """
    device = choose_device(job.device)
    precision = choose_precision(job.precision, device, of_texts=kind_of(task.backbone).of_texts)
    backbone, worker, ranks = _tuned_worker(
        job, task, divided, device=device, precision=precision, begun=begun, trust_times=trust_times
    )
    check_lengths(worker.model, task)
    advise(job, backbone, worker.model, divided, warn)
    home = home_weights(job, worker, divided)
    if home:
        worker = replace(worker, home=home)
    if tasks:
        worker = replace(worker, evaluation=fitting_evaluation(worker.evaluation, task, alone=False))
    shared = worker.tensors()
    check_fit(job, shared, worker.params.keys() - home, home, warn)
    own = own_models(job, worker, divided, precision=precision, trust_times=trust_times, warn=warn)
    return Models(
        backbone=backbone,
        worker=worker,
        ranks=ranks,
        shared=shared,
        precision=precision,
        own=own,
        tasks=tasks,
        evaluation=job.evaluation,
    )


def _tuned_worker(
    job: Job, task: Task, divided: Divided, *, device: torch.device, precision: Precision, begun: bool, trust_times: bool
) -> tuple[Backbone, Worker, Ranks]:
    """Return the backbone with the tuning in place, what trains it, and the clients' ranks."""
    backbone = load_backbone(
        job.backbone,
        kind=task.backbone,
        labels=() if kind_of(task.backbone).causal else task.labels_of((), job.base),
        pooling=pooling_of(task),
        # full tuning trains float32 weights: loaded rounded, they would start beside those of the file
        precision="float32" if written(job.tuning).every_weight and precision == "bfloat16" else precision,
        device=device,
        base=job.base,
        seed=job.seed,
        trust_times=trust_times,
    )
    context(backbone.model)  # measured before anything is attached to it
    tuning: Any = job.tuning
    if initial_of(tuning) is not None:
        tuning = replace(tuning, initial=None if begun and job.protocol.in_checkpoint else str(job.path(tuning.initial)))
    ranks = choose_ranks(job, divided, tuning)
    with within("tuning", tuning), within_memory(ranks.shared, job.protocol.local, device):
        model = ranks.shared.attach(backbone.model, job.seed)
    if precision != "float32":
        unround(model, ranks.shared.parameters(model), backbone.folder)
    attach_second(job, model)
    worker = Worker(
        model=model,
        processor=backbone.processor,
        task=task,
        tuning=ranks.shared,
        evaluation=replace(job.evaluation.at(job.base), class_counts=job.evaluation.class_counts and job.protocol.class_counts),
        device=device,
        bfloat16=precision == "bfloat16",
        seed=job.seed,
        remember=dual_of(job.personalization) is not None,
    )
    return backbone, worker, ranks
