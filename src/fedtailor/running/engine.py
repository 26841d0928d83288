"""The engine that carries messages to clients in this process."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from ..assembly import Parts
from ..federation import Failing, Hostile, LocalFederation, hostile_clients
from ..federation.ranked import RANK, RankedFederation
from ..interfaces import AroundFederation, Federation
from ..metrics.figure import counts_of
from ..on_demand import OnDemand
from ..printable import printable
from ..privacy import BUDGET_FILE
from ..protocols.rounds.counts import CountedFederation, reported
from ..records import ClientId
from .folder import RunFolder
from .measure import Notify

Connect: TypeAlias = Callable[[Parts, RunFolder, Notify], Federation]


def local_federation(parts: Parts, folder: RunFolder, notify: Notify) -> Federation:
    """Return the local engine over all clients, with every fault's text going to the client's own log."""

    def on_failure(client: ClientId, fault: Exception) -> None:
        log = folder.client(client) / "log.txt"
        with folder.writing():
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a", encoding="utf-8") as file:
                file.write(printable("".join(traceback.format_exception(fault))) + "\n")

    clients, seed = parts.job.clients, parts.job.seed
    hostile = hostile_clients(list(parts.clients), clients.hostile_share, seed) if clients.hostile_share else frozenset()

    def half(client: ClientId) -> Any:
        def on_step(step: int, steps: int, loss: float) -> None:
            notify("step", client=client, step=step, steps=steps, loss=loss)

        manifest, sends = parts.manifest, parts.half(client, on_step)
        if client in hostile:
            sends = Hostile(inner=sends, client=client, answers=manifest.up, sends=clients.hostile, seed=seed)
        if clients.failure_share:
            sends = Failing(inner=sends, client=client, requests=manifest.down, share=clients.failure_share, seed=seed)
        return parts.behind(client, sends)

    halves = OnDemand(half)
    # a model of its own begins with the weights that are in place now
    for client in parts.clients if parts.protocol.works_ahead else parts.clients.differing:
        halves[client]
    return LocalFederation(halves, parts.sampler.clients, parts.gate_of(), on_failure)


def protected(federation: Federation, parts: Parts, folder: RunFolder) -> Federation:
    """Return the engine with what the job's protections put around it, the first one outermost; what the run has spent of its budget is read."""
    if parts.budget is not None:
        parts.budget.open(folder.path / BUDGET_FILE)
    for protection in reversed(parts.job.protection):
        if isinstance(protection, AroundFederation):
            federation = protection.around(federation)
    return federation


def ranked(federation: Federation, parts: Parts, evaluations: Sequence[Mapping[str, Any]] = ()) -> Federation:
    """Return the engine as the protocol sees it: clients keep to the counts that they named first, and what goes to those of a lower rank is cut to it.

    Args:
        evaluations: rows of the run's figures, if it is resumed: clients keep to the counts in them.
    """
    public = len(parts.server_test) if not parts.clients.differing else 0  # which other models may have other rows of
    counted = CountedFederation(
        inner=federation,
        manifest=parts.manifest,
        most_examples=parts.job.clients.most_examples,
        of_all={"public.examples": float(public)} if public else {},
        before=reported(evaluations),
        lengths=counts_of(len(parts.worker.task.labels_of((), parts.job.base))),
    )
    ranks = parts.ranks if parts.auto_ranks is None else parts.auto_ranks
    if (not parts.ranks and parts.auto_ranks is None) or parts.protocol.own_models:
        return counted
    return RankedFederation(inner=counted, ranks=ranks, rank=parts.manifest.sizes.get(RANK))
