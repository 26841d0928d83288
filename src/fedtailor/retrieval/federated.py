"""Several clients' indexes on one machine, asked as over a network: what passes between them is encoded and counted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from ..errors import ClientError, RunError, SettingError
from ..messages import Record, encode, write
from .allows import Allows, QueryLog
from .asking import Found
from .catalogue import describe, routing_of
from .client import RetrievalClient
from .embedder import Embedder
from .index import Index, check_fits
from .messages import Catalogue
from .passages import Passage
from .question import SentQuestion
from .readers import BestSentence, Reader
from .router import Router, Routing
from .search import Score
from .server import Server


@dataclass(kw_only=True)
class Traffic:
    """Bytes of all messages so far."""

    down: int = 0
    up: int = 0
    texts: int = 0  # passages, snippets or answers that left their clients


class Carrier(Protocol):
    """Carries requests to clients by an engine of its own, and counts bytes."""

    @property
    def down_bytes(self) -> int:
        """Bytes to all clients so far."""

    @property
    def up_bytes(self) -> int:
        """Bytes from all clients so far."""

    def send(self, requests: Mapping[str, Record]) -> Mapping[str, Record]:
        """Give each client its request, and return the answers of those that answered."""


@dataclass(frozen=True, kw_only=True)
class Federation:
    """The indexes of several clients, made by one embedder."""

    clients: Mapping[str, Index]
    embedder: Embedder
    embedders: Mapping[str, Embedder] = field(default_factory=dict)  # of the clients that have another one
    asks: Embedder | None = None  # of questions, where a run has trained one; None: that of passages
    score: Score = field(default_factory=Score)
    routing: Routing | None = None  # centroids that are known already, in the place of those that clients give by `router`
    router: Router | None = None
    seed: int = 0  # of centroids
    shared_statistics: bool = (
        False  # weigh words by their counts over all clients: exactly as one index; else each client by its own
    )
    share: str = "passages"
    verify: bool = False
    question: SentQuestion = field(default_factory=SentQuestion)
    fetch: int = 0  # see `Server.fetch`
    logs: Mapping[str, QueryLog] = field(default_factory=dict)  # what each client allows, and was asked; left out: anything
    reader: Reader | None = None  # at the clients, where answers leave them; the best sentence if left out
    engine: Callable[[Mapping[str, RetrievalClient]], Carrier] | None = None  # left out: requests are passed on as they are
    traffic: Traffic = field(default_factory=Traffic)
    faults: dict[str, str] = field(default_factory=dict)  # the last of each client, in its own words

    def __post_init__(self) -> None:
        if not self.clients:
            raise SettingError("there is no client to ask; index a folder first")
        for name, index in self.clients.items():
            check_fits(index.meta, f"of {name}", self.embedder_of(name))
        assert self.server  # its settings are checked now

    def search(self, questions: Sequence[str], top_k: int = 5) -> list[Found]:
        """Return the best passages of all clients for each question.

        Raises:
            SettingError: if a question is empty or too long, or top_k is none.
        """
        return self.server.search(questions, top_k)

    def embedder_of(self, client: str) -> Embedder:
        """Return what a client's index was made with."""
        return self.embedders.get(client, self.embedder)

    @cached_property
    def halves(self) -> dict[str, RetrievalClient]:
        """The clients' parts."""
        reader = self.reader or BestSentence(embedder=self.embedder)
        return {
            name: RetrievalClient(
                index=index,
                embedder=self.embedder_of(name),
                score=self.score,
                share=self.share,
                reader=reader,
                seed=self.seed,
                log=self.logs.get(name) or QueryLog(allows=Allows()),
            )
            for name, index in self.clients.items()
        }

    @cached_property
    def _carrier(self) -> Carrier | None:
        return None if self.engine is None else self.engine(self.halves)

    @cached_property
    def server(self) -> Server:
        """The server's part.

        Raises:
            RunError: if a client has no catalogue.
        """
        answers = self.send({name: describe(self.router, self.embedder) for name in self.clients})
        catalogues = {name: one for name, one in answers.items() if isinstance(one, Catalogue)}
        if missing := sorted(self.clients.keys() - catalogues.keys()):
            raise RunError(f"client {missing[0]} gave no catalogue of its index; index again, or leave it out")
        return Server(
            catalogues=catalogues,
            embedder=self.embedder,
            send=self.send,
            asks=self.asks,
            score=self.score,
            routing=self.routing or routing_of(self.router, catalogues),
            share=self.share,
            verify=self.verify,
            question=self.question,
            fetch=self.fetch,
            shared_statistics=self.shared_statistics,
        )

    def send(self, requests: Mapping[str, Record]) -> dict[str, Record]:
        """Give each client its request, and return the answers."""
        if self._carrier is not None:
            answers = dict(self._carrier.send(requests))
            self.traffic.down, self.traffic.up = self._carrier.down_bytes, self._carrier.up_bytes
            self.traffic.texts += sum(map(bool, (text for one in answers.values() for text in getattr(one, "texts", ()))))
            return answers
        found = {}
        for name, request in requests.items():
            self.traffic.down += len(encode(write(request)))
            try:
                found[name] = answer = self.halves[name].answer(request)
            except ClientError as fault:
                self.faults[name] = str(fault)
                continue
            self.traffic.up += len(encode(write(answer)))
            self.traffic.texts += sum(map(bool, getattr(answer, "texts", ())))
        return found

    def passages_of(self, found: Found) -> list[Passage]:
        """Return the whole passages of an answer, whatever is shared: for those who measure on this machine."""
        return [
            self.clients[hit.client].rows([hit.place[1]])[0]
            if hit.place[0] < 0
            else self.halves[hit.client].passage_at(found.exchange, *hit.place)
            for hit in found.hits
        ]
