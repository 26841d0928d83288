"""The server's part of retrieval: what carries its requests to the clients of a federation, counts them, and who is asked."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import OffManifest, SettingError, TooFewClients
from ...interfaces import Federation
from ...messages import Record, read, write
from ...records import ClientFailure, ClientId, Traffic
from ...retrieval.catalogue import describe, routing_of, unfit
from ...retrieval.embedder import Embedder
from ...retrieval.messages import ANSWERS, Catalogue
from ...retrieval.server import Server
from ...retrieval.standing import Standing
from ...retrieval.trained import query_embedder
from ...text_files import expanded
from .settings import Retrieval

FIRST_S = 60.0  # that the first catalogues are waited for, as clients still load what finds centroids
REST_S = 30.0  # that a client which did not answer in time is left alone
STRANGE = ClientFailure(kind="off-manifest", mark=OffManifest.__name__)


@dataclass(kw_only=True)
class Courier:
    """Sends requests through an engine's gate, and keeps count of bytes and failures."""

    federation: Federation
    timeout_s: float
    now: Callable[[], float] = time.monotonic
    traffic: dict[ClientId, Traffic] = field(default_factory=dict)
    failures: list[tuple[ClientId, ClientFailure]] = field(default_factory=list)
    texts: int = 0  # passages, snippets and answers that came
    _resting: dict[str, float] = field(default_factory=dict)  # until when
    _last_texts: dict[str, int] = field(default_factory=dict)  # of the last answers, by client

    @property
    def down_bytes(self) -> int:
        """Bytes to all clients so far."""
        return sum(one.down_bytes for one in self.traffic.values())

    @property
    def up_bytes(self) -> int:
        """Bytes from all clients so far."""
        return sum(one.up_bytes for one in self.traffic.values())

    def send(self, requests: Mapping[str, Record], timeout_s: float = 0.0) -> dict[str, Record]:
        """Give each client its request, and return the answers of those that answered in time, and as asked, in the order of the requests.

        A client that did not answer in time is not asked again for a while.

        Args:
            timeout_s: if it is longer than that of all requests.
        """
        moment = self.now()
        messages = {
            ClientId(name): write(request) for name, request in requests.items() if self._resting.get(name, 0.0) <= moment
        }
        found: dict[str, Record] = {}
        faults: dict[ClientId, ClientFailure] = {}
        for reply in self.federation.ask(messages, max(timeout_s, self.timeout_s)):
            self._count(reply.client, reply.traffic)
            if reply.error is not None:
                faults[reply.client] = reply.error
            elif reply.message is not None:
                try:
                    found[reply.client] = read(reply.message, ANSWERS[type(requests[reply.client])])
                except OffManifest:
                    faults[reply.client] = STRANGE
        self._resting |= {name: self.now() + REST_S for name, fault in faults.items() if fault.kind in ("timeout", "lost")}
        self.failures += sorted(faults.items(), key=lambda item: item[0])
        self._last_texts = {name: sum(map(bool, getattr(one, "texts", ()))) for name, one in found.items()}
        self.texts += sum(self._last_texts.values())
        return {name: found[name] for name in requests if name in found}

    def strange(self, client: str) -> None:
        """Note that a client said something else than it was asked for, of which no text counts."""
        self.texts -= self._last_texts.pop(client, 0)
        self.failures.append((ClientId(client), STRANGE))

    def rows(self, examples: Mapping[str, int]) -> list[dict[str, Any]]:
        """Return a row for each client of what was sent since the last call.

        Args:
            examples: passages of each client.
        """
        rows = [
            {
                "client": name,
                "attempt": 1,
                "examples": examples.get(name, 0),
                "up_bytes": sent.up_bytes,
                "down_bytes": sent.down_bytes,
                "exchange_seconds": sent.seconds,
            }
            for name, sent in sorted(self.traffic.items())
        ]
        self.traffic = {}
        return rows

    def _count(self, client: ClientId, sent: Traffic) -> None:
        before = self.traffic.get(client, Traffic())
        self.traffic[client] = Traffic(
            up_bytes=before.up_bytes + sent.up_bytes,
            down_bytes=before.down_bytes + sent.down_bytes,
            seconds=before.seconds + sent.seconds,
        )


@dataclass(kw_only=True)
class Asker:
    """Asks those clients whose catalogues are known; the others are asked for theirs before each block of questions."""

    settings: Retrieval
    embedder: Embedder
    courier: Courier
    standing: Standing
    asks: Embedder | None = None  # of questions, where a run has trained one
    refused: dict[str, str] = field(default_factory=dict)  # clients that cannot be asked, and why
    server: Server | None = None

    def ready(self) -> Server:
        """Return the server's part, with the clients that gave a catalogue until now.

        Raises:
            TooFewClients: if none did.
            SettingError: if all that did allow less than is asked for, or have another embedder.
        """
        known = {} if self.server is None else dict(self.server.catalogues)
        names = [str(info.id) for info in self.courier.federation.clients]
        missing = [name for name in names if name not in known and name not in self.refused]
        first = FIRST_S if self.server is None else 0.0
        reported = (
            self.courier.send({name: describe(self.settings.router, self.embedder) for name in missing}, first) if missing else {}
        )
        fresh = {name: one for name, one in reported.items() if isinstance(one, Catalogue)}
        for name, one in fresh.items():
            if why := unfit(name, one, self.settings.share, self.embedder, self.settings.question):
                self.refused[name] = why
                self.courier.strange(name)
        fresh = {name: one for name, one in fresh.items() if name not in self.refused}
        if not known and not fresh:
            if self.refused:
                raise SettingError(next(iter(self.refused.values())))
            raise TooFewClients("no client gave a catalogue of its index; look at the clients' logs")
        if self.server is None or fresh:
            self.server = self._server(dict(sorted({**known, **fresh}.items())))
        return self.server

    def _server(self, catalogues: Mapping[str, Catalogue]) -> Server:
        settings = self.settings
        server = Server(
            catalogues=catalogues,
            embedder=self.embedder,
            send=self.courier.send,
            asks=self.asks,
            score=settings.score,
            routing=routing_of(settings.router, catalogues) if len(catalogues) > 1 else None,
            share=settings.share,
            verify=settings.verify,
            question=settings.question,
            fetch=settings.fetch,
            shared_statistics=settings.shared_statistics,
            standing=self.standing,
            strange=self.courier.strange,
        )
        if self.server is not None:
            server.exchanges = self.server.exchanges
        return server


def asks_of(settings: Retrieval, backbone: str, base: Path) -> Embedder | None:
    """Return the embedder of questions that the settings name by its run; None if they name none."""
    return None if settings.query is None else query_embedder(expanded(base, settings.query, "protocol.query"), backbone, base)
