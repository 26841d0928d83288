"""A job's examples as the models take them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..data.divide import Divided
from ..job import Job
from ..learning.client import ClientState
from ..learning.recompute import check_recomputing
from ..learning.token_cache import TokenCache
from ..records import ClientId, ClientInfo
from ..tasks import Writes
from ..tasks.shard import Shard
from ..tasks.text.generate import check_room
from ..tasks.text.room import check_lengths
from .data import client_state, tokenize_file
from .fits import Warn, check_sizes
from .server_model import Models
from .texts import report_clock, report_cut, report_unused


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What a run trains and measures on."""

    states: Mapping[ClientId, ClientState]
    files: Mapping[str, Shard]  # validation and test of the server; empty ones where there is none
    infos: list[ClientInfo]  # of the clients that train

    @property
    def validated(self) -> bool:
        """Whether clients have validation parts of their own."""
        return any(len(state.validation) for state in self.states.values())


def prepare_examples(
    job: Job, models: Models, divided: Divided, clients_folder: Path | None, *, keep_tokens: bool, warn: Warn
) -> Examples:
    """Turn all examples into what the models take; arguments as in `assemble`.

    Args:
        keep_tokens: whether tokenized parts are kept in the user's cache.

    Raises:
        JobError: if there is nothing to train on, or it does not fit a model.
    """
    worker, task = models.worker, models.worker.task
    room = check_room(worker.model, job.evaluation.generate) if isinstance(task, Writes) else None
    cache = TokenCache.of(task, worker.processor) if keep_tokens else None
    states = {
        client: client_state(
            client,
            divided,
            models.worker_of(client),
            clients_folder,
            warn,
            cache=None if client in models.own_workers else cache,
        )
        for client in sorted(divided.train)
    }
    files = {
        part: tokenize_file(getattr(divided, f"server_{part}"), worker, warn, part, cache) for part in ("validation", "test")
    }
    check_lengths(worker.model, task, files.values(), of="the public files")
    for client, state in states.items():
        check_lengths(models.worker_of(client).model, task, (state.train, state.validation, state.test), of=client)
    if job.protocol.local.checkpointing:
        for client in [*[c for c in states if len(states[c].train)][:1], *models.own]:
            check_recomputing(models.worker_of(client), states[client].train)
    report_cut(task, states, files, room, warn)
    report_unused(task, warn)
    report_clock(job, task, models.backbone.processor, warn)
    infos = [
        ClientInfo(id=client, examples=max(1, len(state.train)))  # 1 stands for what is not known yet of a client elsewhere
        for client, state in states.items()
        if len(state.train) or client in divided.elsewhere
    ]
    check_sizes(job, infos, warn)
    return Examples(states=states, files=files, infos=infos)
