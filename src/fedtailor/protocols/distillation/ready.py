"""Distillation with a model and a public set: what a run is carried out with."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from ...errors import SettingError
from ...interfaces import Federation
from ...learning.client import Client
from ...learning.distil import classes_of
from ...learning.public_fit import LEAST_ROWS
from ...learning.worker import OnStep, Worker
from ...ledger import Sizes
from ...messages import Call
from ...messages.wires.logits import LogitsWire
from ...personalization import Personalization
from ...records import ClientId, Cost, Example, Round, ServerState
from ...tasks.shard import Shard, TokenShard
from ...tasks.text.room import check_lengths
from ...tensors import Tensors, clone
from ..bench import Bench
from ..rounds.sampling import Sampler
from ..usual import UsualRun
from .client import DistillationClient
from .cost import round_cost, round_lengths
from .last import LastAlignment
from .messages import calls_of
from .public_set import PublicSet, check_same_rows, check_same_words, tokenize_public
from .server import serve
from .settings import Distillation
from .terms import Terms


@dataclass(kw_only=True)
class DistillationRun(UsualRun):
    """Distillation with a model and a public set: what a run is carried out with."""

    settings: Distillation
    worker: Worker  # the server's
    examples: Sequence[Example]  # public, usable ones
    terms: Terms = field(init=False)
    start_weights: Tensors = field(init=False)  # as the tuning was attached: what every model begins with

    own_models: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.settings.check_task(self.worker)
        shard = tokenize_public(self.examples, self.worker.task, self.worker.processor)
        if not len(shard):
            raise SettingError(
                f"protocol.public: none of its {len(self.examples)} examples can be used"
                + (f" (first reason: {shard.dropped[0][1]})" if shard.dropped else "")
                + "; fix the file, or raise task.max_tokens"
            )
        public = PublicSet(shard=shard, seed=self.worker.seed, share=self.settings.slice)
        self.terms = Terms(settings=self.settings, public=public, wire=self.settings.wire_for(classes_of(self.worker)))
        self.settings.aggregation.check(self.wire.classes)
        self.start_weights = clone(self.worker.params)

    @property
    def public(self) -> PublicSet:
        return self.terms.public

    @property
    def wire(self) -> LogitsWire:
        return self.terms.wire

    def start(self, worker: Worker) -> ServerState:
        """Return the state before round 1: the weights that are in place, and no logits yet."""
        return ServerState(version=0, shared=worker.tensors())

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
        """Yield after each round; see `server.serve`."""
        return serve(self.terms, self.worker, federation, state, sampler, rounds=rounds, wanted=wanted)

    def client(
        self,
        client: Client,
        *,
        personalization: Personalization | None = None,
        public: Shard | None = None,
        on_step: OnStep | None = None,
    ) -> DistillationClient:
        """Return the part that answers messages at one client, whose worker may hold another model than the server's; see `check_client`.

        Args:
            personalization: none; each client has a model of its own anyway.
            public: the public test set as the server's tokens, if there is one.
        """
        worker = client.worker
        mine = replace(self.public, shard=self._public_of(worker))
        start = self.start_weights if worker is self.worker else clone(worker.params)
        if public is not None and worker.processor is not self.worker.processor:
            public = worker.task.prepare(public.examples, worker.processor, keep_examples=True)
        return DistillationClient(
            protocol=self.settings,
            client=client,
            public=mine,
            wire=self.wire,
            start=start,
            test=public,
            on_step=on_step,
        )

    def check_models(self, server: Worker, own: Mapping[ClientId, Worker]) -> None:
        """Raise SettingError unless public examples fit every model, and each client's logits speak of what the server's speak of."""
        for worker in (server, *own.values()):
            check_lengths(worker.model, worker.task, [self.public.shard], of="the public set")
        for client, worker in own.items():
            self.check_client(worker, client)

    def check_client(self, worker: Worker, client: ClientId) -> None:
        """Raise SettingError, naming both sides, unless the logits of a client's model speak of what the server's speak of."""
        check_same_words(self.worker, worker, client)
        check_same_rows(self.public.shard, self._public_of(worker), client)

    def _public_of(self, worker: Worker) -> TokenShard:
        """Return the public examples as a worker's tokens."""
        if worker.processor is self.worker.processor:
            return self.public.shard
        return tokenize_public(self.examples, worker.task, worker.processor)

    @property
    def last(self) -> LastAlignment:
        """To align once more."""
        return LastAlignment(self.terms)

    def says(self) -> Iterator[tuple[str, str]]:
        """Yield what everybody speaks of."""
        public, wire, settings = self.public, self.wire, self.settings
        form = f"{wire.classes:,} logits" if wire.top_k is None else f"the {wire.top_k:,} likeliest of {wire.classes:,} logits"
        yield (
            "public set",
            f"{len(public.shard):,} examples, {public.labelled:,} with labels; {form} at {public.mean_places:,.0f} positions a round, {wire.dtype}",
        )
        if settings.refine:
            yield (
                "refined",
                f"every {settings.refine_every} rounds a client reports a score of one byte for each public row, by which the "
                f"{len(public.rows(1)):,} rows of a round are drawn"
                + (" together with label counts" if settings.label_counts else ""),
            )

    def calls(self, shared: Tensors, figures: Sequence[str] = (), *, rounds: int = 1) -> list[Call]:
        """Return what this protocol sends; see `UsualRun.calls`. `figures` are what an evaluation reports."""
        return calls_of(self.terms, shared, figures)

    def sizes(
        self, shared: Tensors, *, rounds: int, validated: bool, shape: Callable[[Call], Call] = lambda call: call
    ) -> Mapping[str, int]:
        """Return the bytes that a client sends and gets in a round, on average over `rounds`; see `AveragingRun.sizes`."""
        up, down = round_lengths(self.terms, shared, rounds=rounds, validated=validated)
        return {"up_bytes": up, "down_bytes": down}

    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what one client with so many examples spends in one round, estimated, on average over rounds."""
        return round_cost(self.terms, sizes, examples=examples, tokens_per_example=tokens_per_example)


def distillation_run(settings: Distillation, bench: Bench) -> DistillationRun:
    """Return the protocol with the server's model and the public set; what comes to nothing is said.

    Raises:
        SettingError: if it does not go with the task, or no public example can be used.
    """
    run = DistillationRun(settings=settings, worker=bench.worker, examples=bench.public)
    if bench.keeps_best:
        bench.warn("protocol: distillation: the last round is kept: clients no longer have their own models of an earlier one")
    if not bench.test:
        bench.warn(
            "protocol: distillation: without data.test the server's own model is measured nowhere; figures are those of the clients' models"
        )
    dropped = run.public.shard.dropped
    if dropped:
        bench.warn(
            f"{len(dropped)} of {len(bench.public)} public examples cannot be used and are left out; the first: {dropped[0][1]}"
        )
    _check_use(run, bench)
    return run


def _check_use(run: DistillationRun, bench: Bench) -> None:
    """Raise SettingError if nothing can be learned from the public examples, and warn of settings that come to nothing."""
    settings, public, warn = run.settings, run.public, bench.warn
    if settings.weight == 0 and not public.labelled:
        raise SettingError(
            f"protocol.weight: 0 learns from the labels of public examples alone, and none of the {len(public.shard):,} has one; set weight: "
            "0.5 or 1 to learn from logits, or give the public examples labels"
        )
    if settings.weight == 0 and public.labelled < len(public.shard):
        warn(f"protocol.weight: 0 learns from labels alone: {len(public.shard) - public.labelled:,} public examples have none")
    if settings.refine_every != Distillation.refine_every and not settings.refine:
        warn("protocol.refine_every does nothing without refine: label-statistics")
    least = min(len(public.shard), bench.fewest)
    if settings.refine and least < LEAST_ROWS:
        warn(
            f"protocol.refine: rows are scored from {LEAST_ROWS} examples on, of a client's own and of public ones, and somebody has {least}: "
            + ("label counts alone count there" if settings.label_counts else "such a client has no say in the draw")
        )
