"""Clients that train LoRA of another rank than the job's, and what is carried beside the trained factors."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..data.divide import Divided
from ..data.settings import OwnTuning
from ..errors import SettingError
from ..federation.auto_ranks import AutoRanks
from ..federation.ranked import RankOf
from ..interfaces import traits_of
from ..job import Job
from ..learning.worker import Worker
from ..pairs import Technique, check_together, technique
from ..records import ClientId
from ..tuning import LoraAmong
from ..tuning.asked import ranks_of


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The tunings of one run: the server's, and those of the clients that differ."""

    shared: Any  # a tuning
    own: Mapping[ClientId, LoraAmong] = field(default_factory=dict)
    auto: Mapping[int, LoraAmong] = field(
        default_factory=dict
    )  # by rank, where the server chooses before each round; but the largest

    def workers(self, worker: Worker) -> dict[ClientId, Worker]:
        """Return a worker for each client that differs; those of one rank and alpha share one, and all share the server's model."""
        if not self.own:
            return {}
        made: dict[str, Worker] = {}
        for tuning in self.own.values():
            if tuning.adapter not in made:
                tuning.attach(worker.model, worker.seed)
                made[tuning.adapter] = replace(worker, tuning=tuning)
        worker.tuning.attach(worker.model, worker.seed)  # it is active again
        return {client: made[tuning.adapter] for client, tuning in self.own.items()}

    def by_rank(self, worker: Worker) -> dict[int, Worker]:
        """Return a worker for each rank that the server may choose, all of one model; empty where it chooses none."""
        found: dict[int, Worker] = {}
        for rank, tuning in self.auto.items():
            tuning.attach(worker.model, worker.seed)
            found[rank] = replace(worker, tuning=tuning)
        if not found:
            return {}
        worker.tuning.attach(worker.model, worker.seed)  # it is active again
        return {**found, int(self.shared.tuning.rank): worker}

    def of_clients(self) -> dict[ClientId, RankOf]:
        """Return rank and scale of each client that differs."""
        shared = self.shared.tuning.alpha / self.shared.tuning.rank if self.own else 1.0
        return {
            client: RankOf(rank=own.tuning.rank, scale=own.tuning.alpha / own.tuning.rank, shared_scale=shared)
            for client, own in self.own.items()
        }


def choose_ranks(job: Job, divided: Divided, tuning: Any) -> Ranks:
    """Return the tunings of the server and of the clients that differ.

    Args:
        tuning: the job's, with `initial` as a path.

    Raises:
        SettingError: if an override names no client, does not fit the tuning, or the aggregation needs equal ranks.
    """
    rule: Any = job.protocol.aggregation
    carry = traits_of(rule).carry
    overrides = _overrides(job, divided)
    if ranks_of(tuning):
        return _chosen_each_round(job, tuning, carry)
    if not overrides:
        return Ranks(shared=LoraAmong(tuning=tuning, carry=carry) if carry else tuning)
    own: dict[ClientId, LoraAmong] = {}
    names: dict[tuple[int, float], str] = {}
    for client, (rank, alpha) in overrides.items():
        name = names.setdefault((rank, alpha), f"rank{rank}x{len(names)}")
        own[client] = LoraAmong(tuning=replace(tuning, rank=rank, alpha=alpha, initial=None), adapter=name, carry=carry)
    return Ranks(shared=LoraAmong(tuning=tuning, carry=carry), own=own)


def auto_ranks(job: Job) -> AutoRanks | None:
    """Return what chooses the clients' ranks before each round; None if they are fixed."""
    tuning: Any = job.tuning
    if not ranks_of(tuning):
        return None
    return AutoRanks(ranks=tuning.ranks, alpha=float(tuning.alpha), bound_s=tuning.round_seconds)


def _chosen_each_round(job: Job, tuning: Any, carry: int) -> Ranks:
    """Return the tunings of all ranks that the server may choose.

    Raises:
        SettingError: if something goes with one rank alone.
    """
    rule: Any = job.protocol.aggregation
    if not traits_of(rule).any_ranks:
        raise SettingError(
            f"protocol.aggregation: {getattr(rule, 'kind', '')} does not go with tuning.rank: auto, and needs one rank for all; choose aggregation: flexlora, "
            "raflora or flora, or give a rank"
        )
    if any(own.tuning != OwnTuning() for own in job.clients.overrides.values()):
        raise SettingError(
            "clients.overrides of ranks do not go with tuning.rank: auto, which chooses them; leave them out, or give a rank"
        )
    if job.protocol.local.keep_optimizer:
        raise SettingError(
            "protocol.local.keep_optimizer does not go with tuning.rank: auto: moments are those of factors of one rank; leave it out, or give a rank"
        )
    fixed = replace(tuning, ranks=(), round_seconds=None, initial=None)
    auto = {
        rank: LoraAmong(tuning=replace(fixed, rank=rank), adapter=f"rank{rank}x{place}", carry=carry)
        for place, rank in enumerate(tuning.ranks[:-1])
    }
    return Ranks(shared=LoraAmong(tuning=tuning, carry=carry), auto=auto)


def _overrides(job: Job, divided: Divided) -> dict[ClientId, tuple[int, float]]:
    """Return rank and alpha of the clients that differ from the job."""
    strange = sorted(job.clients.overrides.keys() - divided.train.keys())
    if strange:
        known = sorted(divided.train)
        raise SettingError(
            f"clients.overrides names {strange[0]!r}, and there is no such client; the clients are {', '.join(known[:8])}"
            + (f" and {len(known) - 8} more" if len(known) > 8 else "")
        )
    tuning: Any = job.tuning
    ranks_differ = any((own.tuning.rank, own.tuning.alpha) != (None, None) for own in job.clients.overrides.values())
    if ranks_differ and technique("tuning", tuning).lack("factors") is not None:
        raise SettingError(
            f"clients.overrides does not go with tuning: {tuning.kind}: rank and alpha are those of tuning: lora; choose it, or leave the "
            "overrides out"
        )
    found: dict[ClientId, tuple[int, float]] = {}
    for client, override in sorted(job.clients.overrides.items()):
        own = override.tuning
        if override.backbone is not None or (own.rank is None and own.alpha is None):  # a model of its own has any rank
            continue
        rank, alpha = own.rank or tuning.rank, own.alpha or tuning.alpha
        if rank > tuning.rank:
            raise SettingError(
                f"clients.overrides.{client}.tuning.rank is {rank}, above tuning.rank, {tuning.rank}, which is the shared adapter's and must be the "
                f"largest; set tuning.rank: {rank} and override those that have less"
            )
        if (rank, float(alpha)) != (tuning.rank, float(tuning.alpha)):
            found[client] = (rank, float(alpha))
    if found and not job.protocol.apart:
        _check_rule(job, found)
    return found


def _check_rule(job: Job, ranks: Mapping[ClientId, tuple[int, float]]) -> None:
    """Raise SettingError, naming a client, if the aggregation needs equal ranks."""
    rule = job.protocol.aggregation
    tuning: Any = job.tuning
    client, (rank, alpha) = next(iter(ranks.items()))
    lack = f"where {client!r} has rank {rank} and alpha {alpha:g}, and the others {tuning.rank} and {tuning.alpha:g}"
    overrides = Technique(section="clients", name="clients.overrides of ranks", gives={"one-rank": lack}, needs=())
    check_together([technique("aggregation", rule, path="protocol.aggregation", traits=traits_of(rule)), overrides])
