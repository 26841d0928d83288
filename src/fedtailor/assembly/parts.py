"""Turns a job into its parts: backbone, task, shards, tuning, protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..clock import today
from ..data.divide import Divided
from ..federation.ranked import RankOf
from ..interfaces import Answering, AtClient, Plan
from ..job import Job
from ..learning.client import ClientState
from ..learning.recompute import check_recomputing
from ..learning.token_cache import TokenCache
from ..learning.worker import Worker
from ..ledger import Sizes
from ..messages import Manifest, manifest_of
from ..models import Backbone, Precision, choose_device, choose_precision, load_backbone, unround
from ..models.kinds import kind_of
from ..personalization import dual_of, goes_with_last_round
from ..protection import Budget, Gate, make_gate
from ..protocols import Bench, Ready, ready_protocol
from ..protocols.personal import personal_length
from ..protocols.rounds.sampling import Sampler
from ..records import ClientId, ClientInfo, Cost, Example
from ..tasks import Task, Writes, pooling_of
from ..tasks.evaluate import figure_names
from ..tasks.evaluation import Evaluation
from ..tasks.shard import Shard
from ..tasks.task import at_moment
from ..tasks.text.generate import check_room
from ..tasks.text.room import check_lengths, context
from ..tensors import Tensors, count, size_bytes
from ..tuning import written
from .calls import calls_of, measures_gain, shaped
from .cuts import own_cuts
from .data import client_state, divide_data, tokenize_file
from .fits import (
    Warn,
    advise,
    attach_second,
    check_fit,
    check_sizes,
    checked_threads,
    fitting_protocol,
    home_weights,
    tell_what_is_missing,
)
from .memory import within_memory
from .own_backbones import own_models
from .protected import budget_of, coins_of, plan_of, settled, summed_protocol
from .public import known_examples, load_public
from .ranks import Ranks, choose_ranks
from .texts import report_clock, report_cut

USUAL_THREADS = torch.get_num_threads()  # what torch chose when the process began


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All that a run is carried out with."""

    job: Job
    backbone: Backbone
    worker: Worker
    protocol: Ready
    states: Mapping[ClientId, ClientState]
    sampler: Sampler  # over those that train; every client is evaluated
    server_validation: Shard  # empty where each client keeps a share of its own aside
    server_test: Shard  # empty where there is no public test set
    divided: Divided
    public: Sequence[Example]  # that everybody speaks of; only with distillation
    manifest: Manifest
    sizes: Sizes
    precision: str
    own_workers: Mapping[ClientId, Worker] = field(default_factory=dict)  # of another backbone, or LoRA of another rank
    own_sizes: Mapping[ClientId, Sizes] = field(default_factory=dict)
    own_backbones: Mapping[ClientId, Backbone] = field(default_factory=dict)
    ranks: Mapping[ClientId, RankOf] = field(default_factory=dict)
    plan: Plan | None = None
    budget: Budget | None = None  # of privacy, where a protection spends one
    told_measured: Sequence[ClientId] = ()  # clients elsewhere that say they have examples of their own to measure on

    def worker_of(self, client: ClientId) -> Worker:
        """Return the worker that a client works with."""
        return self.own_workers.get(client, self.worker)

    def gate_of(self, client: ClientId = "") -> Gate:
        """Return the gate at a client's border, or, without a client, the server's end of all of them."""
        return make_gate(self.manifest, self.job.protection, client=client, plan=self.plan, kept=self.states)

    def behind(self, client: ClientId, half: Answering) -> Answering:
        """Return what answers at a client: its part of the protocol, and those of protections that have one."""
        for protection in self.job.protection:
            half = protection.at_client(half, client, self.states[client]) if isinstance(protection, AtClient) else half
        return half

    def sizes_of(self, client: ClientId) -> Sizes:
        """Return what a client's costs depend on."""
        return self.own_sizes.get(client, self.sizes)

    @property
    def measured(self) -> list[ClientId]:
        """Clients with examples of their own to measure on."""
        here = [client for client, state in self.states.items() if len(state.test) or len(state.validation)]
        return [*here, *self.told_measured]

    @property
    def shares_a_part(self) -> bool:
        """Whether the shared weights are but a part of every client's model, and the rest of it is the client's own."""
        return bool(self.worker.home) or dual_of(self.job.personalization) is not None

    @property
    def measures_gain(self) -> bool:
        """Whether clients measure what local training gains on their validation parts."""
        return measures_gain(self.job, self.protocol)

    @property
    def goes_with_last_round(self) -> bool:
        """Whether clients keep weights of their own that belong to the last round's shared ones, and to those of no earlier round."""
        return self.protocol.own_models or bool(self.worker.home) or goes_with_last_round(self.job.personalization)


def assemble(
    job: Job,
    *,
    given: Any = None,
    clients_folder: Path | None = None,
    divided: Divided | None = None,
    begun: bool = False,
    trust_times: bool = False,
    clock: str | None = None,
    warn: Warn = lambda text: None,
    doing: Warn = lambda what: None,
) -> Parts:
    """Load, divide and tokenize the data, load the backbone and put the tuning in place.

    Args:
        given: data in memory that take the place of `data.train`: a data set, or a mapping of train, validation and test.
        clients_folder: where each client's own folder is made; in memory if left out.
        divided: data divided already, in the place of those that the job names.
        begun: whether a checkpoint holds the trained weights, so that `tuning.initial` is not needed any more.
        trust_times: whether files of backbones whose size and times are as before are not hashed again; for looks at a job, not for runs.
        clock: the moment that the run's chat template has written so far; left out: midnight of this day.
        warn: told in one sentence about everything that was left out or chosen for the user.
        doing: told what is under way, for those who wait.

    Raises:
        JobError: if a setting, the data or the backbone is not usable; nothing has been written then.
    """
    torch.set_num_threads(USUAL_THREADS if job.threads == "auto" else checked_threads(job.threads))
    job = settled(job, warn)
    doing("reading the data and dividing them among clients")
    keep_tokens = (
        kind_of(job.task.backbone).of_texts and job.data.cache and given is None and divided is None
    )  # of files alone, and never at a site of a network
    divided = divided or divide_data(job, given)
    cuts = own_cuts(job)
    public = load_public(job, divided, warn)
    task = at_moment(job.task.resolve(known_examples(divided, public), job.base), clock or today())
    device = choose_device(job.device)
    precision = choose_precision(job.precision, device, of_texts=kind_of(task.backbone).of_texts)
    doing(f"loading the backbone {job.backbone}")
    backbone, worker, ranks = _tuned_worker(
        job, task, divided, device=device, precision=precision, begun=begun, trust_times=trust_times
    )
    model, tuning = worker.model, ranks.shared
    check_lengths(model, task)
    room = check_room(model, job.evaluation.generate) if isinstance(task, Writes) else None
    tell_what_is_missing(divided, warn)
    advise(job, backbone, model, divided, warn)
    home = home_weights(job, worker, divided)
    if home:
        worker = replace(worker, home=home)
    shared = worker.tensors()
    check_fit(job, shared, worker.params.keys() - home, home, warn)
    models = own_models(job, worker, divided, precision=precision, trust_times=trust_times, warn=warn)
    own_workers = {**ranks.workers(worker), **{client: own.worker for client, own in models.items()}}
    of_clients = ranks.of_clients()
    doing("preparing the examples")
    cache = TokenCache.of(worker.task, worker.processor) if keep_tokens else None
    states = {
        client: client_state(
            client, divided, own_workers.get(client, worker), clients_folder, warn, cache=None if client in own_workers else cache
        )
        for client in sorted(divided.train)
    }
    files = {
        part: tokenize_file(getattr(divided, f"server_{part}"), worker, warn, part, cache) for part in ("validation", "test")
    }
    check_lengths(model, task, files.values(), of="the public files")
    for client, state in states.items():
        check_lengths(own_workers.get(client, worker).model, task, (state.train, state.validation, state.test), of=client)
    if job.protocol.local.checkpointing:
        for client in [*[c for c in states if len(states[c].train)][:1], *models]:
            check_recomputing(own_workers.get(client, worker), states[client].train)
    report_cut(task, states, files, room, warn)
    report_clock(job, task, backbone.processor, warn)
    infos = [
        ClientInfo(id=client, examples=max(1, len(state.train)))  # 1 stands for what is not known yet of a client elsewhere
        for client, state in states.items()
        if len(state.train) or client in divided.elsewhere
    ]
    check_sizes(job, infos, warn)
    plan = plan_of(job, shared, clients=len(infos))
    budget = budget_of(job, plan, warn)
    settings = summed_protocol(job, fitting_protocol(job, task, divided, clients=len(infos)), plan, warn)
    bench = Bench(
        worker=worker,
        base=job.base,
        rounds=job.stop.rounds,
        patience=job.stop.patience,
        keeps_best=job.stop.keep == "best",
        public=public,
        tested=bool(divided.server_test),
        fewest=min(map(len, divided.train.values()), default=0),
        cuts=cuts,
        warn=warn,
    )
    protocol = ready_protocol(settings, bench)
    protocol.check_models(worker, own_workers)
    validated = any(len(state.validation) for state in states.values()) and measures_gain(job, protocol)
    sizes_of = partial(_sizes, job, protocol, share=plan.rate, validated=validated)
    parts = Parts(
        job=job,
        backbone=backbone,
        worker=worker,
        protocol=protocol,
        states=states,
        sampler=Sampler(
            clients=infos,
            per_round=round(plan.expected),
            select=job.clients.select,
            seed=job.seed,
            most_weight=job.clients.most_weight,
            coins=coins_of(budget),
        ),
        plan=plan,
        budget=budget,
        server_validation=files["validation"],
        server_test=files["test"],
        divided=divided,
        public=public,
        manifest=manifest_of(
            calls_of(
                job,
                protocol,
                shared,
                figure_names(task, worker.evaluation),
                home=bool(home),
                most_rank=tuning.tuning.rank if of_clients else None,
            )
        ),
        sizes=sizes_of(backbone, worker, shared),
        precision=precision,
        own_workers=own_workers,
        own_sizes={
            **{client: sizes_of(backbone, own_workers[client], rank.cut(shared)) for client, rank in of_clients.items()},
            **{client: sizes_of(own.backbone, own.worker, shared) for client, own in models.items()},
        },
        own_backbones={client: own.backbone for client, own in models.items()},
        ranks=of_clients,
    )
    if parts.goes_with_last_round and not protocol.own_models and job.stop.keep == "best":
        warn(
            f"personalization: {job.personalization.kind}: the last round is kept: clients no longer have their weights of an earlier one"
        )
    return parts


def _evaluation_of(job: Job) -> Evaluation:
    """Return what is measured; where clients distil, and do not report their label counts as they are, metrics come without counts of classes."""
    return job.evaluation if job.protocol.class_counts else replace(job.evaluation, class_counts=False)


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
    if getattr(tuning, "initial", None) is not None:
        tuning = replace(tuning, initial=None if begun and job.protocol.in_checkpoint else str(job.path(tuning.initial)))
    ranks = choose_ranks(job, divided, tuning)
    with within_memory(ranks.shared, job.protocol.local, device):
        model = ranks.shared.attach(backbone.model, job.seed)
    if precision != "float32":
        unround(model, ranks.shared.parameters(model), backbone.folder)
    attach_second(job, model)
    worker = Worker(
        model=model,
        processor=backbone.processor,
        task=task,
        tuning=ranks.shared,
        evaluation=_evaluation_of(job),
        device=device,
        bfloat16=precision == "bfloat16",
        seed=job.seed,
        remember=dual_of(job.personalization) is not None,
    )
    return backbone, worker, ranks


def _sizes(
    job: Job, protocol: Ready, backbone: Backbone, worker: Worker, shared: Tensors, *, share: float, validated: bool
) -> Sizes:
    """Return what costs depend on; `share` is that of the clients which a round asks, `validated` whether they have validation parts."""
    return Sizes(
        body_parameters=backbone.body_parameters,
        backbone_bytes=size_bytes(dict(backbone.model.state_dict())),
        trained=count(worker.params),
        shared_bytes=personal_length(shared),
        rounds=max(1, round(job.stop.rounds * share)),
        **protocol.sizes(shared, rounds=job.stop.rounds, validated=validated, shape=partial(shaped, job)),
    )


def foretell(parts: Parts) -> dict[ClientId, Cost]:
    """Return what each client spends in one round, before anything is done; of clients elsewhere, as if their texts had no tokens."""
    costs = {}
    for info in parts.sampler.clients:
        lengths = parts.states[info.id].train.sizes_N
        tokens = float(lengths.float().mean()) if len(lengths) else 0.0
        costs[info.id] = parts.protocol.of_client(info.id).cost(
            parts.sizes_of(info.id), examples=info.examples, tokens_per_example=tokens
        )
    return costs
