"""Turns a job into its parts: backbone, task, shards, tuning, protocol."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .assemble_checks import check_fit, home_weights
from .data.divide import OVER_LIMIT, Divided, divide
from .errors import DataError
from .job import Job
from .learning.client import ClientState
from .learning.worker import Worker
from .ledger import Sizes
from .models import Backbone, choose_device, choose_precision, load_backbone
from .protection import Manifest
from .protocols import Averaging, Split
from .protocols.sampling import Sampler, clients_per_round
from .protocols.split import BoundSplit
from .records import ClientId, ClientInfo, Cost, Example
from .tasks import Writes
from .tasks.generate import check_room
from .tasks.shard import Shard
from .tensors import Tensors, count, size_bytes

Warn = Callable[[str], None]
USUAL_THREADS = torch.get_num_threads()  # what torch chose when the process began


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All that a run is carried out with."""

    job: Job
    backbone: Backbone
    worker: Worker
    protocol: Averaging | BoundSplit
    states: Mapping[ClientId, ClientState]
    sampler: Sampler  # over those that train; every client is evaluated
    server_validation: Shard  # empty where each client keeps a share of its own aside
    server_test: Shard  # empty where there is no public test set
    divided: Divided
    manifest: Manifest
    sizes: Sizes
    precision: str


def assemble(
    job: Job,
    *,
    given: Any = None,
    clients_folder: Path | None = None,
    divided: Divided | None = None,
    begun: bool = False,
    warn: Warn = lambda text: None,
) -> Parts:
    """Load, divide and tokenize the data, load the backbone and put the tuning in place.

    Args:
        given: data in memory that take the place of `data.train`: a data set, or a mapping of train, validation and test.
        clients_folder: where each client's own folder is made; in memory if left out.
        divided: data divided already, in the place of those that the job names.
        begun: whether a checkpoint holds the trained weights, so that `tuning.initial` is not needed any more.
        warn: told in one sentence about everything that was left out or chosen for the user.

    Raises:
        JobError: if a setting, the data or the backbone is not usable; nothing has been written then.
    """
    torch.set_num_threads(USUAL_THREADS if job.threads == "auto" else job.threads)
    divided = divided or divide_data(job, given)
    device = choose_device(job.device)
    precision = choose_precision(job.precision, device)
    task = job.task.resolve(_known_examples(divided), job.base)
    backbone = load_backbone(
        job.backbone,
        kind=task.backbone_kind,
        labels=task.labels_of((), job.base),
        precision=precision,
        device=device,
        base=job.base,
        seed=job.seed,
    )
    tuning: Any = job.tuning
    if getattr(tuning, "initial", None) is not None:
        tuning = replace(tuning, initial=None if begun else str(job.path(tuning.initial)))
    model = tuning.attach(backbone.model, job.seed)
    worker = Worker(
        model=model,
        tokenizer=backbone.tokenizer,
        task=task,
        tuning=tuning,
        evaluation=job.evaluation,
        device=device,
        bfloat16=precision == "bfloat16",
        seed=job.seed,
    )
    if isinstance(task, Writes):
        check_room(model, job.evaluation.generate)
    _tell_what_is_missing(divided, warn)
    home = home_weights(job, worker, divided)
    if home:
        worker = replace(worker, home=home)
        if job.stop.keep == "best":
            warn(
                f"personalization: {job.personalization.kind}: the last round is kept: clients no longer have their weights of an earlier one"
            )
    shared = worker.tensors()
    protocol = job.protocol.at(worker) if isinstance(job.protocol, Split) else job.protocol
    check_fit(job, protocol, shared, worker.params.keys() - home)
    if isinstance(protocol, BoundSplit):
        warn(protocol.notice)
    states = {client: _client_state(client, divided, worker, clients_folder, warn) for client in sorted(divided.train)}
    infos = [ClientInfo(id=client, examples=len(state.train)) for client, state in states.items() if len(state.train)]
    per_round = clients_per_round(len(infos), fraction=job.clients.fraction, per_round=job.clients.per_round)
    return Parts(
        job=job,
        backbone=backbone,
        worker=worker,
        protocol=protocol,
        states=states,
        sampler=Sampler(clients=infos, per_round=per_round, select=job.clients.select, seed=job.seed),
        server_validation=_tokenize_file(divided.server_validation, worker, warn, "validation"),
        server_test=_tokenize_file(divided.server_test, worker, warn, "test"),
        divided=divided,
        manifest=protocol.manifest(
            shared, task.figures, rounds=job.stop.rounds, personal=job.personalization.personal, home=bool(home)
        ),
        sizes=_sizes(job, protocol, backbone, worker, shared),
        precision=precision,
    )


def _sizes(job: Job, protocol: Averaging | BoundSplit, backbone: Backbone, worker: Worker, shared: Tensors) -> Sizes:
    """Return what costs depend on."""
    sent, extra = protocol.sizes(shared, rounds=job.stop.rounds)
    return Sizes(
        body_parameters=backbone.body_parameters,
        backbone_bytes=size_bytes(dict(backbone.model.state_dict())),
        trained=count(worker.params),
        tensors=len(shared),
        shared=count(shared),
        sent=sent,
        extra=extra,
    )


def divide_data(job: Job, given: Any = None) -> Divided:
    """Return the job's data, divided among clients and into parts."""
    from .models.embed import embed_texts

    return divide(
        job.data,
        job.clients,
        required=job.task.required,
        optional=job.task.optional,
        base=job.base,
        seed=job.seed,
        given=given,
        embed=embed_texts,
        key=job.task.required[0],
    )


def foretell(parts: Parts) -> dict[ClientId, Cost]:
    """Return what each client spends in one round, before anything is done."""
    costs = {}
    for info in parts.sampler.clients:
        lengths = parts.states[info.id].train.lengths_N
        costs[info.id] = parts.protocol.cost(
            parts.sizes, examples=info.examples, tokens_per_example=float(lengths.float().mean())
        )
    return costs


def _client_state(client: ClientId, divided: Divided, worker: Worker, folder: Path | None, warn: Warn) -> ClientState:
    train = _tokenize(divided.train[client], worker, warn, f"the training part of {client}", keep_examples=False)
    if divided.train[client] and not len(train):
        raise DataError(
            f"client {client!r} has no usable training example: all {len(divided.train[client])} were dropped "
            f"(first reason: {train.dropped[0][1]}); raise task.max_tokens, or mend its data"
        )
    return ClientState(
        id=client,
        train=train,
        validation=_tokenize(divided.validation.get(client, []), worker, warn, f"the validation part of {client}"),
        test=_tokenize(divided.test.get(client, []), worker, warn, f"the test part of {client}"),
        folder=None if folder is None else folder / client,
    )


def _known_examples(divided: Divided) -> list[Example]:
    """Return all examples but those of tests: what a task takes from the data is the same for all, and no test has a part in it."""
    own = [part for parts in (divided.train, divided.validation) for part in parts.values()]
    return [example for part in (*own, divided.server_validation) for example in part]


def _tell_what_is_missing(divided: Divided, warn: Warn) -> None:
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


def _tokenize(examples: list[Example], worker: Worker, warn: Warn, where: str, *, keep_examples: bool = True) -> Shard:
    shard: Shard = worker.task.tokenize(examples, worker.tokenizer, keep_examples=keep_examples)
    if shard.dropped:
        reasons = ", ".join(sorted({_without_figures(reason) for _, reason in shard.dropped})[:3])
        warn(f"{len(shard.dropped)} of {len(examples)} examples of {where} cannot be used and are left out: {reasons}")
    return shard


def _tokenize_file(examples: list[Example], worker: Worker, warn: Warn, part: str) -> Shard:
    """Return a public file's examples as tokens; if none is left, the job is wrong, not smaller."""
    shard = _tokenize(examples, worker, warn, f"the {part} file")
    if examples and not len(shard):
        raise DataError(
            f"data.{part}: none of its {len(examples)} examples can be used (first reason: {shard.dropped[0][1]}); "
            f"raise task.max_tokens, mend the file, or leave data.{part} out"
        )
    return shard


def _without_figures(reason: str) -> str:
    """Return the reason without what is particular to one example, whose text and length are its owner's."""
    return re.sub(r"of \d+ tokens", "of so many tokens", reason)
