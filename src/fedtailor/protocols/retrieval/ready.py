"""Retrieval with all that is needed of it besides its settings."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from ...interfaces import Federation
from ...learning.client import Client
from ...learning.store import Store
from ...learning.worker import OnStep, Worker
from ...ledger import Sizes
from ...messages import Call
from ...personalization import Personalization
from ...records import ClientId, Cost, Round, ServerState
from ...retrieval.allows import LOG, Allows, QueryLog, read_allows
from ...retrieval.client import RetrievalClient
from ...retrieval.collection import make_reader
from ...retrieval.collection_file import save_collection
from ...retrieval.embedder import Embedder, embedder_of
from ...retrieval.inbox import Inbox
from ...retrieval.index import Index
from ...retrieval.readers import BestSentence, Reader
from ...retrieval.tally import Known
from ...tasks.question_answering import NO_READER
from ...tasks.shard import Shard
from ...tensors import Tensors
from ..bench import Bench
from ..rounds.sampling import Sampler
from ..usual import UsualRun
from .blocks import Measuring, alone, known_of, serve, start
from .client import RetrievalHalf, index_examples
from .cost import lengths, round_cost
from .messages import calls_of
from .server import asks_of
from .settings import Retrieval, apart_line

PRIVATE = "local"  # in a site's kit: the folder of its owner's own files
SITE_ALLOWS = Allows(share="scores")  # of a site whose owner says nothing


@dataclass(kw_only=True)
class RetrievalRun(UsualRun):
    """What questions are asked with."""

    embedder: Embedder
    settings: Retrieval = field(default_factory=Retrieval)
    asks: Embedder | None = None  # of questions, where a run has trained one
    seed: int = 0  # of centroids
    questions: Sequence[Known] = ()  # that the run asks
    reader: str = NO_READER  # at the server
    indexes: Path | None = (
        None  # where clients of this process keep their indexes from run to run; None: for the length of the run
    )
    inbox: Inbox | None = None  # at the server of a network
    site: Path | None = None  # the kit, at a site of a network
    here: dict[ClientId, RetrievalClient] = field(default_factory=dict)  # clients in this process
    apart: Sequence[ClientId] = ()  # clients of other embedders
    own: dict[ClientId, Embedder] = field(default_factory=dict)  # embedders of those that have another one
    _kept: TemporaryDirectory[str] | None = None

    works_ahead: ClassVar[bool] = True
    knows_gain: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    evaluates: ClassVar[bool] = False

    def take_questions(self, inbox: Inbox) -> None:
        """Take questions that come while a run is open, if the job lets it stay so."""
        self.inbox, inbox.is_open = inbox, self.settings.open_s > 0

    @property
    def validated(self) -> bool:
        return False

    def start(self, worker: Worker) -> ServerState:
        """Return the state before the first question."""
        return start(self.settings)

    def serve(
        self,
        federation: Federation,
        state: ServerState,
        sampler: Sampler,
        *,
        rounds: int,
        worker: Worker | None = None,
        wanted: Callable[[int], Sequence[str]] = lambda index: (),
    ) -> Generator[Round, None, None]:
        """Yield after each block of questions; there are as many blocks as the run has rounds, or as there are questions."""
        return serve(self._measuring(), federation, state, rounds=rounds)

    def client(
        self,
        client: Client,
        *,
        personalization: Personalization | None = None,
        public: Shard | None = None,
        on_step: OnStep | None = None,
    ) -> RetrievalHalf:
        """Return the part that answers messages at one client, whose documents are indexed first."""
        if client.id not in self.here:
            embedder = self._embedder_of(client)
            shown = on_step or (lambda step, steps, loss: None)
            index, _ = index_examples(
                client.train.examples,
                self._folder(client.store),
                embedder,
                self.settings.chunk,
                lambda what, done, of: shown(done, of, 0.0),
            )
            self.here[client.id] = self.half(index, self._log(client.store), embedder=embedder).inner
            if self._keeps(client.store):
                assert self.indexes is not None
                save_collection(self.indexes, {name: self.indexes / name for name in self.here})
        return RetrievalHalf(inner=self.here[client.id])

    def half(
        self, index: Index, log: QueryLog | None = None, reader: Reader | None = None, *, embedder: Embedder | None = None
    ) -> RetrievalHalf:
        """Return the part that answers messages from an index.

        Args:
            log: what the client allows, and was asked; left out: it allows anything, and logs nothing.
            embedder: that made the index; left out: that of the server.
        """
        inner = RetrievalClient(
            index=index,
            embedder=embedder or self.embedder,
            reader=reader or self._client_reader,
            score=self.settings.score,
            share=self.settings.share,
            log=log or QueryLog(allows=Allows()),
            seed=self.seed,
        )
        return RetrievalHalf(inner=inner)

    def _embedder_of(self, client: Client) -> Embedder:
        model = client.worker.model
        if getattr(self.embedder, "model", model) is model:
            return self.embedder
        return self.own.setdefault(client.id, embedder_of(model, client.worker.processor))

    def calls(self, shared: Tensors, figures: Sequence[str] = (), *, rounds: int = 1) -> list[Call]:
        """Return what this protocol sends."""
        return calls_of(self.settings, self.embedder.width)

    def sizes(
        self, shared: Tensors, *, rounds: int, validated: bool, shape: Callable[[Call], Call] = lambda call: call
    ) -> Mapping[str, int]:
        """Return the bytes that a client sends and gets in a round."""
        questions, characters = self._block(rounds)
        up, down = lengths(self.settings, self.calls(shared), questions=questions, characters=characters, clients=1)
        return {"up_bytes": up, "down_bytes": down}

    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what one client spends in one round, estimated; it is the most: that of a client which holds all winners."""
        questions, characters = self._block(sizes.rounds)
        return round_cost(sizes, questions=questions, characters=characters)

    def most_rounds(self, rounds: int) -> int:
        """Return how many rounds there are at most: one a block of questions, and one without any."""
        return max(1, min(rounds, len(self.questions)))

    def says(self) -> Iterator[tuple[str, str]]:
        """Yield what is asked, of whom, and what leaves a client."""
        settings = self.settings
        router = "every client is asked" if settings.router is None else f"{settings.router.count} centroids a client"
        yield "protocol", f"retrieval, {settings.score.kind}, top_k {settings.top_k}; {router}"
        yield "reader", self.reader
        more = f"; on a network those of rag ask too, until nobody has asked for {settings.open_s:g} s" if settings.open_s else ""
        yield "questions", (f"{len(self.questions):,}" if self.questions else "none: nothing is measured") + more
        yield "a question", settings.question.says
        if self.apart:
            yield "embedders", apart_line(self.apart, settings.top_k)
        yield "share", f"{settings.share}: {settings.lets_out}"

    def outcome(self, state: ServerState) -> Mapping[str, Any]:
        """Return what a run came to, with what each client's own index reaches where all are in this process."""
        measuring = self._measuring()
        own = alone(measuring, self.seed) if measuring.measured and len(self.here) > 1 else {}
        return {"retrieval": {**measuring.outcome(state), "alone": own}}

    def _measuring(self) -> Measuring:
        return Measuring(
            settings=self.settings,
            embedder=self.embedder,
            asks=self.asks,
            questions=self.questions,
            inbox=self.inbox,
            own=self.own,
            here=self.here,
            make_reader=self._reader,
        )

    def _block(self, rounds: int) -> tuple[int, int]:
        """Return how many questions a round asks, and their characters, on average."""
        if not self.questions:
            return 0, 0
        size = -(-len(self.questions) // max(1, rounds))
        return size, round(sum(len(one.question) for one in self.questions) / len(self.questions) * size)

    def _folder(self, store: Store) -> Path:
        if self.indexes is not None and self._keeps(store):
            return self.indexes / store.id
        if self._kept is None:
            self._kept = TemporaryDirectory(prefix="fedtailor-index-")
        return Path(self._kept.name) / store.id

    def _keeps(self, store: Store) -> bool:
        """Return whether a client's index stays after the run: not where clients live in memory."""
        return self.indexes is not None and store.folder is not None

    def _log(self, store: Store) -> QueryLog:
        """Return what a client allows, and where it logs: at a site of a network by its owner's file, over all jobs."""
        if self.site is not None:
            return QueryLog(allows=read_allows(self.site / PRIVATE, SITE_ALLOWS), file=self.site / LOG)
        folder = self._folder(store)
        return QueryLog(allows=read_allows(folder), file=folder / LOG)

    @property
    def _client_reader(self) -> Reader:
        """What reads at the clients, where answers leave them: at a site of a network no model that a job names."""
        if self.settings.share == "answers" and self.reader != NO_READER and self.site is None:
            return make_reader(self.reader, self.embedder)
        return BestSentence(embedder=self.embedder)

    def _reader(self) -> Reader | None:
        return None if self.reader == NO_READER else make_reader(self.reader, self.embedder)


def retrieval_run(settings: Retrieval, bench: Bench) -> RetrievalRun:
    """Return the protocol with the server's model as its embedder."""
    worker = bench.worker
    task: Any = worker.task
    return RetrievalRun(
        settings=settings,
        embedder=embedder_of(worker.model, worker.processor),
        asks=asks_of(settings, str(worker.model.name_or_path), bench.base) if bench.site is None else None,
        seed=worker.seed,
        questions=[known_of(example) for example in bench.test],
        reader=task.reads,
        indexes=bench.base / "runs" / f"{bench.name}-index",
        site=bench.site,
        apart=bench.own_backbones,
    )
