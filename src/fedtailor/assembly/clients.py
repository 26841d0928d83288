"""The clients of a run: one record each, made when it is asked for."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ..learning.client import Client, Prepared
from ..learning.private.client import PrivateClient
from ..learning.retained import Retained
from ..learning.store import Store
from ..learning.worker import Worker
from ..ledger import Sizes
from ..models import Backbone
from ..on_demand import OnDemand
from ..records import ClientId
from .examples import Amounts


@dataclass(frozen=True, kw_only=True)
class Own:
    """What one client works with."""

    worker: Worker
    sizes: Sizes
    backbone: Backbone | None = None  # of its own; None: the job's


@dataclass(frozen=True, kw_only=True)
class Clients(Mapping[ClientId, Client]):
    """All clients of a run, by their ids in order.

    What is held of each is how much it has. Its record, its examples as tokens and its store are made when they are asked for, so that ten
    thousand clients take little more memory than a hundred.
    """

    amounts: Mapping[ClientId, Amounts]
    prepare: Callable[[ClientId], Prepared]
    alike: Own  # of all clients that do not differ from the job
    differing: Mapping[ClientId, Own] = field(default_factory=dict)
    folder: Path | None = None  # where each keeps what is its own, in a folder of its name; in memory if left out
    private: Mapping[ClientId, PrivateClient] = field(default_factory=dict)  # the DP-SGD of each, where the job asks for it
    retained: Retained | None = None  # general text, that each measures its own weights on
    stores: OnDemand[ClientId, Store] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stores", OnDemand(self._store))

    def __getitem__(self, client: ClientId) -> Client:
        if client not in self.amounts:
            raise KeyError(client)
        own = self.own_of(client)
        return Client(
            id=client,
            worker=own.worker,
            store=self.stores[client],
            prepare=partial(self.prepare, client),
            sizes=own.sizes,
            backbone=own.backbone,
            private=self.private.get(client),
            retained=self.retained,
        )

    def __contains__(self, client: object) -> bool:
        return client in self.amounts  # Mapping's own makes the client to see

    def __iter__(self) -> Iterator[ClientId]:
        return iter(self.amounts)

    def __len__(self) -> int:
        return len(self.amounts)

    @property
    def backbones(self) -> dict[ClientId, Backbone]:
        """The backbones of the clients that have one of their own."""
        return {client: own.backbone for client, own in self.differing.items() if own.backbone is not None}

    def own_of(self, client: ClientId) -> Own:
        """Return what a client works with."""
        return self.differing.get(client, self.alike)

    def sizes_of(self, client: ClientId) -> Sizes:
        """Return what a client's costs depend on."""
        return self.own_of(client).sizes

    def kept_at(self, version: int) -> dict[ClientId, int]:
        """Return the version of what each client recalls with `version` of the shared weights; those that keep nothing are left out."""
        found = {client: self.stores[client].kept_at(version) for client in self._keeping()}
        return {client: kept for client, kept in found.items() if kept is not None}

    def roll_back(self, version: int) -> None:
        """Let all clients forget what they kept after `version`."""
        for client in self._keeping():
            self.stores[client].roll_back(version)

    def _keeping(self) -> list[ClientId]:
        """Return the clients that may keep something."""
        there = set() if self.folder is None or not self.folder.is_dir() else {path.name for path in self.folder.iterdir()}
        return sorted((there | self.stores.keys()) & self.amounts.keys())

    def _store(self, client: ClientId) -> Store:
        return Store(id=client, folder=None if self.folder is None else self.folder / client)
