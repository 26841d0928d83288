"""Retrieval with all that is needed of it besides its settings."""

from dataclasses import dataclass, field
from pathlib import Path

from ...errors import TooFewClients
from ...interfaces import Federation
from ...messages import Call
from ...retrieval.allows import LOG, Allows, QueryLog, read_allows
from ...retrieval.catalogue import describe, routing_of
from ...retrieval.client import RetrievalClient
from ...retrieval.embedder import Embedder
from ...retrieval.index import Index
from ...retrieval.messages import Catalogue
from ...retrieval.readers import BestSentence, Reader
from ...retrieval.server import Server
from .client import RetrievalHalf
from .messages import calls_of
from .server import Courier
from .settings import Retrieval


@dataclass(frozen=True, kw_only=True)
class RetrievalRun:
    """What questions are asked with."""

    embedder: Embedder
    settings: Retrieval = field(default_factory=Retrieval)
    seed: int = 0  # of centroids

    def calls(self) -> list[Call]:
        """Return what this protocol sends."""
        return calls_of(self.settings, self.embedder.width)

    def client(self, index: Index, folder: Path | None = None, reader: Reader | None = None) -> RetrievalHalf:
        """Return the part that answers messages at one client.

        Args:
            folder: of the client's index, which has its own file of what it allows, and its log; none: it allows anything, and logs nothing.
        """
        log = QueryLog(allows=Allows()) if folder is None else QueryLog(allows=read_allows(folder), file=folder / LOG)
        inner = RetrievalClient(
            index=index,
            embedder=self.embedder,
            reader=reader or BestSentence(embedder=self.embedder),
            score=self.settings.score,
            share=self.settings.share,
            log=log,
            seed=self.seed,
        )
        return RetrievalHalf(inner=inner)

    def server(self, federation: Federation) -> tuple[Server, Courier]:
        """Ask every client for its catalogue, and return what asks questions, and what counts them.

        Raises:
            TooFewClients: if no client gives a catalogue.
            SettingError: if a client allows less than the settings ask for, or has another embedder.
        """
        settings = self.settings
        courier = Courier(federation=federation, timeout_s=settings.timeout_s)
        answers = courier.send({info.id: describe(settings.router) for info in federation.clients})
        catalogues = {name: one for name, one in answers.items() if isinstance(one, Catalogue)}
        if not catalogues:
            raise TooFewClients("no client gave a catalogue of its index; look at the clients' logs")
        return (
            Server(
                catalogues=catalogues,
                embedder=self.embedder,
                send=courier.send,
                score=settings.score,
                routing=routing_of(settings.router, catalogues),
                share=settings.share,
                verify=settings.verify,
                shared_statistics=settings.shared_statistics,
            ),
            courier,
        )
