"""A job's data in parts: divided among clients, and as tokens."""

import re
from dataclasses import replace
from typing import Any

from ..data.divide import Divided, divide
from ..errors import DataError
from ..job import Job
from ..learning.client import Prepared
from ..learning.token_cache import TokenCache
from ..learning.worker import Worker
from ..records import ClientId, Example
from ..tasks.shard import Shard
from .fits import Warn
from .own_tasks import divide_by_task, own_tasks, reads_of_job
from .retained import load_retained


def divide_data(job: Job, given: Any = None) -> Divided:
    """Return the job's data, divided among clients and into parts."""
    from ..models.embed import embed_texts

    retained = load_retained(job)
    if own_tasks(job):
        return replace(divide_by_task(job, given), retained=retained)
    divided = divide(
        job.data,
        job.clients,
        **reads_of_job(job),
        base=job.base,
        seed=job.seed,
        given=given,
        embed=embed_texts,
        key=job.task.required[0],
    )
    return replace(divided, retained=retained)


def client_examples(
    client: ClientId, divided: Divided, worker: Worker, warn: Warn, *, cache: TokenCache | None = None
) -> Prepared:
    """Return one client's examples as its worker's task takes them.

    Raises:
        DataError: if it has training examples, and none of them can be used.
    """
    train = _tokenize(divided.train[client], worker, warn, f"the training part of {client}", cache, keep_examples=False)
    if divided.train[client] and not len(train):
        raise DataError(
            f"client {client!r} has no usable training example: all {len(divided.train[client])} were dropped "
            f"(first reason: {train.dropped[0][1]}); change what the task says of it, or correct its data"
        )
    return Prepared(
        train=train,
        validation=_tokenize(divided.validation.get(client, []), worker, warn, f"the validation part of {client}", cache),
        test=_tokenize(divided.test.get(client, []), worker, warn, f"the test part of {client}", cache),
    )


def _tokenize(
    examples: list[Example], worker: Worker, warn: Warn, where: str, cache: TokenCache | None, *, keep_examples: bool = True
) -> Shard:
    def make() -> Shard:
        made: Shard = worker.task.prepare(examples, worker.processor, keep_examples=keep_examples)
        return made

    shard = make() if cache is None else cache.shard(examples, make, keep_examples=keep_examples)
    if shard.dropped:
        reasons = ", ".join(sorted({_without_figures(reason) for _, reason in shard.dropped})[:3])
        warn(f"{len(shard.dropped)} of {len(examples)} examples of {where} cannot be used and are left out: {reasons}")
    return shard


def tokenize_file(examples: list[Example], worker: Worker, warn: Warn, part: str, cache: TokenCache | None = None) -> Shard:
    """Return a public file's examples as tokens; if none is left, the job is wrong, not smaller.

    Raises:
        DataError: if there are examples, and none can be used.
    """
    shard = _tokenize(examples, worker, warn, f"the {part} file", cache)
    if examples and not len(shard):
        raise DataError(
            f"data.{part}: none of its {len(examples)} examples can be used (first reason: {shard.dropped[0][1]}); "
            f"change what the task says of them, correct the file, or leave data.{part} out"
        )
    return shard


def _without_figures(reason: str) -> str:
    """Return the reason without what is particular to one example, whose text and length are its owner's."""
    return re.sub(r"of \d+ tokens", "of so many tokens", reason)
