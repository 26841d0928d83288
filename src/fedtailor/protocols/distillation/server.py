"""The server half of distillation, and all that needs the public set."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from ...aggregation.logits import LogitAggregation
from ...aggregation.mean import weighted_mean
from ...errors import SettingError, TooFewClients
from ...interfaces import Federation, traits_of
from ...learning.client import ClientState
from ...learning.distil import classes_of, distil, say
from ...learning.local import LocalTraining
from ...learning.worker import OnStep, Worker
from ...ledger import Sizes
from ...messages import Manifest
from ...messages.wires.logits import LogitsWire
from ...personalization import Personalization
from ...records import ClientFailure, ClientId, Cost, Example, Message, Round, ServerState
from ...tasks.shard import Shard, TokenShard
from ...tensors import Tensors, check_finite, clone, norm, subtract
from ..averaging.messages import losses_wanted
from ..rounds.sampling import Sampler, at_least
from ..rounds.too_few import too_few
from .client import DistillationClient
from .collect import TOLD_OF, collect, fault_in, limited_answers, told_by
from .cost import last_length, round_cost, round_lengths
from .messages import ALIGN, BEFORE, MARKED, NOW, SCORED, TRAIN, logits_in, manifest_of, rows_in, weights_in, with_mark
from .public_set import PublicSet, check_same_rows, check_same_words, tokenize_public
from .refine import draw_rows
from .settings import Distillation
from .teacher import consensus

MOST_NOISE = 60.0  # of one count, in units of 1 / epsilon: geometric noise is larger once in e^60 draws
ATTEMPTS = 2  # a round with too few answers is tried once more


@dataclass(kw_only=True)
class DistillationRun:
    """Distillation with a model and a public set: what a run is carried out with."""

    settings: Distillation
    worker: Worker  # the server's
    examples: Sequence[Example]  # public, usable ones
    public: PublicSet = field(init=False)
    wire: LogitsWire = field(init=False)
    start_weights: Tensors = field(init=False)  # as the tuning was attached: what every model begins with

    own_models: ClassVar[bool] = True
    knows_gain: ClassVar[bool] = True  # see `Averaging`

    def __post_init__(self) -> None:
        self.settings.check_task(self.worker)
        shard = tokenize_public(self.examples, self.worker.task, self.worker.processor)
        if not len(shard):
            raise SettingError(
                f"protocol.public: none of its {len(self.examples)} examples can be used"
                + (f" (first reason: {shard.dropped[0][1]})" if shard.dropped else "")
                + "; mend the file, or raise task.max_tokens"
            )
        self.public = PublicSet(shard=shard, seed=self.worker.seed, share=self.settings.slice)
        self.wire = self.settings.wire_for(classes_of(self.worker))
        self.settings.aggregation.check(self.wire.classes)
        self.start_weights = clone(self.worker.params)

    @property
    def local(self) -> LocalTraining:
        return self.settings.local

    @property
    def aggregation(self) -> LogitAggregation:
        return self.settings.aggregation

    @property
    def sends_weights(self) -> bool:
        """Whether weights travel beside logits."""
        return traits_of(self.settings.aggregation).needs_weights

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
        """Yield after each round; what was yielded last is all that is needed to go on.

        Raises:
            TooFewClients: if less than the quorum answered, twice.
        """
        while True:
            index = state.version + 1
            spent: list[dict[str, Any]] = []
            failures: list[tuple[ClientId, ClientFailure]] = []
            for attempt in range(1, ATTEMPTS + 1):
                asked = sampler.draw(index)
                message = Message(
                    kind=TRAIN,
                    tensors=self._down(state),
                    facts={"version": state.version, "rate_factor": self.local.round_factor(index, rounds)}
                    | losses_wanted(wanted(index)),
                )
                replies = federation.ask(dict.fromkeys(asked, message))
                answers, rows, failed = collect(replies, partial(self._fault, version=state.version, marks=state.method.get(NOW)))
                spent += [{"attempt": attempt, **row} for row in rows]
                failures += failed.items()
                if len(answers) >= at_least(self.settings.quorum, len(asked)):
                    break
                if attempt == ATTEMPTS:
                    raise TooFewClients(
                        too_few(
                            index,
                            "usable logits",
                            answered=len(answers),
                            asked=len(asked),
                            failures=failed,
                            quorum=self.settings.quorum,
                            attempts=ATTEMPTS,
                            rate=self.local.peak_learning_rate,
                        )
                    )
            state, figures = self._learn(state, limited_answers(answers, sampler.most_weight))
            yield Round(index=index, state=state, figures=figures, clients=spent, failures=failures)

    def client(
        self,
        worker: Worker,
        state: ClientState,
        *,
        personalization: Personalization | None = None,
        public: Shard | None = None,
        on_step: OnStep | None = None,
    ) -> DistillationClient:
        """Return the half that answers messages at one client, whose worker may hold another model than the server's; see `check_client`.

        Args:
            personalization: none; each client has a model of its own anyway.
            public: the public test set as the server's tokens, if there is one.
        """
        mine = replace(self.public, shard=self._public_of(worker))
        start = self.start_weights if worker is self.worker else clone(worker.params)
        if public is not None and worker.processor is not self.worker.processor:
            public = worker.task.prepare(public.examples, worker.processor, keep_examples=True)
        return DistillationClient(
            protocol=self.settings,
            worker=worker,
            state=state,
            public=mine,
            wire=self.wire,
            start=start,
            test=public,
            on_step=on_step,
        )

    def check_client(self, worker: Worker, client: ClientId) -> None:
        """Raise SettingError, naming both sides, unless the logits of a client's model speak of what the server's speak of."""
        check_same_words(self.worker, worker, client)
        check_same_rows(self.public.shard, self._public_of(worker), client)

    def _public_of(self, worker: Worker) -> TokenShard:
        """Return the public examples as a worker's tokens."""
        if worker.processor is self.worker.processor:
            return self.public.shard
        return tokenize_public(self.examples, worker.task, worker.processor)

    def last_request(self, state: ServerState, *, generate: bool) -> Message:
        """Return the request to align once more after the last round; `generate`: whether figures of generated texts are wanted."""
        return Message(kind=ALIGN, tensors=self._down(state), facts={"version": state.version, "generate": int(generate)})

    def manifest(self, shared: Tensors, figures: Iterable[str], *, gain: bool = False, **_: object) -> Manifest:
        """Return exactly what this protocol sends."""
        settings, public = self.settings, self.public
        return manifest_of(
            self.wire,
            public.most_places,
            figures,
            weights=shared if self.sends_weights else None,
            fit=settings.public_fit,
            counts=settings.label_counts,
            noised=settings.label_epsilon is not None,
            refined={SCORED: len(public.shard), MARKED: public.marks_size} if settings.refine else None,
            gain=gain,
        )

    def sizes(self, shared: Tensors, *, rounds: int, validated: bool) -> Mapping[str, int]:
        """Return the bytes that a client sends and gets in a round, on average over `rounds`; see `Averaging.sizes`."""
        up, down = round_lengths(self, shared, rounds=rounds, validated=validated)
        return {"up_bytes": up, "down_bytes": down}

    def last_down(self, shared: Tensors, *, rounds: int) -> int:
        """Return the bytes that each client gets after the last of so many rounds, for its last alignment, foretold."""
        return last_length(self, shared, rounds=rounds)

    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what one client with so many examples spends in one round, foretold, on average over rounds."""
        return round_cost(self, sizes, examples=examples, tokens_per_example=tokens_per_example)

    def _down(self, state: ServerState) -> dict[str, Tensor]:
        return (with_mark(state.shared) if self.sends_weights else logits_in(state.method)) | rows_in(state.method)

    def _fault(self, message: Message, version: int, *, marks: Tensor | None) -> ClientFailure | None:
        """Return why a message that passed the gate is of no use in this round."""
        scored = len(self.public.shard) if self.settings.scores_in(version + 1) else None
        places, noise = self.public.places(version + 1, marks), self.settings.label_epsilon
        return fault_in(
            message,
            version,
            wire=self.wire,
            places=places,
            scored=scored,
            counts_off=0.0 if noise is None else self.wire.classes * MOST_NOISE / noise,
        )

    def _learn(self, state: ServerState, answers: Mapping[ClientId, Message]) -> tuple[ServerState, dict[str, float]]:
        """Return the server's next state and the round's figures: aggregate, distil, tell what the new weights say."""
        index, worker, settings = state.version + 1, self.worker, self.settings
        marks = state.method.get(NOW)
        teacher = consensus(answers, self.wire, settings.aggregation, places=self.public.places(index, marks))
        before = state.shared
        if self.sends_weights:
            before = weighted_mean((weights_in(m.tensors), float(m.facts["examples"])) for m in answers.values())  # type: ignore[arg-type]
        worker.load(before)
        shard = self.public.slice(index, marks)
        trained = distil(
            worker,
            shard,
            teacher,
            settings.distil,
            temperature=settings.temperature,
            weight=settings.weight,
            round=index,
            purpose="distil-",
        )
        shared = worker.tensors()
        check_finite(shared, "the server's weights after distillation")
        if self.sends_weights:
            back: dict[str, Tensor] = {}
        elif settings.back == "server":
            back = say(worker, shard, self.wire.encode)
        else:
            back = teacher.encode(self.wire)
        told = {name: value for name, value in state.method.items() if name.startswith(TOLD_OF)} | told_by(answers)
        figures = {
            "update_norm": norm(subtract(shared, state.shared)),
            "distil_loss": trained.losses[-1],
            "agreement": teacher.agreement,
            "server_tokens": float(trained.tokens),
        }
        rows = {} if marks is None else {BEFORE: marks, NOW: marks.clone()}
        if settings.scores_in(index):
            rows[NOW] = self.public.mark(draw_rows(self.public, told, round=index))
        return ServerState(version=index, shared=shared, method=back | told | rows), figures
