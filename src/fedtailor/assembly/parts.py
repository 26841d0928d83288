"""All that a run is carried out with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..data.divide import Divided
from ..federation.auto_ranks import AutoRanks
from ..federation.ranked import OfAnyRank, RankOf
from ..interfaces import Answering, AtClient, Plan, WhoSigns
from ..job import Job
from ..learning.client import Client
from ..learning.worker import OnStep, Worker
from ..messages import Manifest
from ..models import Backbone
from ..personalization import dual_of, goes_with_last_round
from ..phases import Answers
from ..privacy import RunBudget
from ..protection import Gate, make_gate
from ..protocols import Ready
from ..protocols.rounds.sampling import Sampler
from ..records import ClientId, Example
from ..tasks.evaluate import makes, writes_texts
from ..tasks.shard import Shard
from .calls import measures_gain
from .clients import Clients


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All that a run is carried out with."""

    job: Job
    backbone: Backbone
    worker: Worker
    protocol: Ready
    clients: Clients
    sampler: Sampler  # over those that train; every client is evaluated
    server_validation: Shard  # empty where each client keeps a share of its own aside
    server_test: Shard  # empty where there is no public test set
    divided: Divided
    public: Sequence[Example]  # that everybody speaks of; only with distillation
    manifest: Manifest
    precision: str
    ranks: Mapping[ClientId, RankOf] = field(default_factory=dict)  # of clients whose LoRA has another rank
    by_rank: Mapping[int, Worker] = field(default_factory=dict)  # where the server chooses each client's rank before a round
    auto_ranks: AutoRanks | None = None  # what it has chosen
    plan: Plan | None = None
    budget: RunBudget | None = None  # of privacy, where a protection spends one
    measured_elsewhere: Sequence[ClientId] = ()  # clients elsewhere that say they have examples of their own to measure on

    def gate_of(self, client: ClientId = "") -> Gate:
        """Return the gate at a client's border, or, without a client, the server's end of all of them."""
        return make_gate(self.manifest, self.job.protection, client=client, plan=self.plan, kept=self.clients.stores)

    def half(self, client: ClientId, on_step: OnStep | None = None, *, own: Client | None = None) -> Answering:
        """Return the protocol's part at a client: of each rank that the server may choose, if it chooses; `own` is the client's record, if it is another."""
        record = own or self.clients[client]
        technique, public = self.job.personalization, self.public_of(client)

        def made(one: Client) -> Answering:
            return self.protocol.client(one, personalization=technique, public=public, on_step=on_step)

        if not self.by_rank:
            return made(record)
        ranked = {rank: replace(record, worker=worker, reports_memory=True) for rank, worker in self.by_rank.items()}
        return OfAnyRank(halves={rank: made(one) for rank, one in ranked.items()})

    def behind(self, client: ClientId, half: Answering, who: WhoSigns | None = None) -> Answering:
        """Return what answers at a client: its part of the protocol, and those of phases and protections that have one.

        Args:
            who: at a site of a network, gives what it signs with.
        """
        if self.job.after:
            half = Answers(half=half, phases=self.job.after, client=self.clients[client])
        for protection in self.job.protection:
            if isinstance(protection, AtClient):
                half = protection.at_client(half, client, self.clients.stores[client], who)
        return half

    @property
    def measured(self) -> list[ClientId]:
        """Clients with examples of their own to measure on."""
        here = [client for client, has in self.clients.amounts.items() if has.test or has.validation]
        return [*here, *self.measured_elsewhere]

    @property
    def writes(self) -> bool:
        """Whether metrics of the job's own task need texts that a model writes."""
        return writes_texts(self.worker.task, self.worker.evaluation)

    def makes(self, client: ClientId | None = None) -> bool:
        """Return whether metrics need what a client's model makes, texts or pictures; without a client, the server's."""
        worker = self.worker if client is None else self.clients.own_of(client).worker
        return makes(worker.task, worker.evaluation, "server" if client is None else "client")

    @property
    def made_at_clients(self) -> bool:
        """Whether metrics need what any client's model makes."""
        workers = (self.clients.alike.worker, *(own.worker for own in self.clients.differing.values()))
        return any(makes(worker.task, worker.evaluation, "client") for worker in workers)

    def public_of(self, client: ClientId) -> Shard | None:
        """Return the public test set as a client takes it; None where its task is another than that of the set."""
        return self.server_test if self.clients.own_of(client).worker.task is self.worker.task else None

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
