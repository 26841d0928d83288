"""A job's examples as the models take them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

from ..data.divide import Divided
from ..job import Job
from ..learning.client import Prepared
from ..learning.private.client import PrivateClient
from ..learning.recompute import check_recomputing
from ..learning.retained import Retained
from ..learning.token_cache import TokenCache
from ..records import ClientId, ClientInfo
from ..tasks import Writes
from ..tasks.shard import Shard
from ..tasks.text.generate import check_room
from ..tasks.text.room import check_lengths
from .data import client_examples, tokenize_file
from .fits import Warn, check_sizes
from .retained import prepare_retained
from .server_model import Models
from .texts import ReadTexts, report_clock, report_unused

KEPT = 256  # clients whose examples are held as tokens: with more, those of others are prepared again when it is their turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """How much one client has."""

    train: int  # examples that can be used
    validation: int
    test: int
    tokens: int  # of the training examples
    longest: int  # tokens of the longest training example; 0 without any

    @classmethod
    def of(cls, prepared: Prepared) -> Self:
        """Return how much a client's examples are."""
        return cls(
            train=len(prepared.train),
            validation=len(prepared.validation),
            test=len(prepared.test),
            tokens=int(prepared.train.sizes_N.sum()),
            longest=int(prepared.train.sizes_N.max()) if len(prepared.train) else 0,
        )

    @property
    def tokens_per_example(self) -> float:
        """Tokens of a training example on average; 0 without any."""
        return self.tokens / self.train if self.train else 0.0


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What a run trains and measures on."""

    prepare: Callable[[ClientId], Prepared]
    amounts: Mapping[ClientId, Amounts]
    files: Mapping[str, Shard]  # validation and test of the server; empty ones where there is none
    infos: list[ClientInfo]  # of the clients that train
    private: Mapping[ClientId, PrivateClient] = field(default_factory=dict)  # the DP-SGD of each, where the job asks for it
    retained: Retained | None = None  # general text

    @property
    def validated(self) -> bool:
        """Whether clients have validation parts of their own."""
        return any(amount.validation for amount in self.amounts.values())


def prepare_examples(job: Job, models: Models, divided: Divided, *, keep_tokens: bool, warn: Warn) -> Examples:
    """Turn all examples into what the models take, once, to know how much each client has and whether it fits; arguments as in `assemble`.

    Args:
        keep_tokens: whether tokenized parts are kept in the user's cache.

    Raises:
        JobError: if there is nothing to train on, or it does not fit a model.
    """
    worker, task = models.worker, models.worker.task
    writing = [isinstance(each, Writes) for each in (task, *models.tasks.values())]
    room = check_room(worker.model, job.evaluation.generate) if any(writing) else None
    cache = TokenCache.of(task, worker.processor) if keep_tokens else None
    said: list[Warn] = [warn]  # what is prepared again was said already

    @lru_cache(maxsize=KEPT)
    def prepare(client: ClientId) -> Prepared:
        own = models.worker_of(client)
        return client_examples(client, divided, own, said[0], cache=cache if own is worker else None)

    texts = ReadTexts(task=task, room=room if writing[0] else None)
    amounts: dict[ClientId, Amounts] = {}
    unchecked = job.protocol.local.checkpointing
    for client in sorted(divided.train):
        prepared, own = prepare(client), models.worker_of(client)
        amounts[client] = Amounts.of(prepared)
        check_lengths(own.model, own.task, (prepared.train, prepared.validation, prepared.test), of=client)
        if own.task is task:
            texts.read(train=prepared.train, validation=prepared.validation, test=prepared.test)
        if job.protocol.local.checkpointing and len(prepared.train) and (unchecked or client in models.own):
            check_recomputing(own, prepared.train)
            unchecked = False
    said[0] = lambda text: None
    files = {
        part: tokenize_file(getattr(divided, f"server_{part}"), worker, warn, part, cache) for part in ("validation", "test")
    }
    check_lengths(worker.model, task, files.values(), of="the public files")
    texts.read(**files)
    texts.report(warn)
    report_unused(task, warn)
    report_clock(job, task, models.backbone.processor, warn)
    infos = [
        ClientInfo(id=client, examples=max(1, amount.train))  # 1 stands for what is not known yet of a client elsewhere
        for client, amount in amounts.items()
        if amount.train or client in divided.elsewhere
    ]
    check_sizes(job, infos, warn)
    retained = prepare_retained(job, worker, divided.retained)
    return Examples(prepare=prepare, amounts=amounts, files=files, infos=infos, retained=retained)
