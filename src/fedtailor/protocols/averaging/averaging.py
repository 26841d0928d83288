"""Averaging: clients train the shared weights, the server averages what changed.

Source: McMahan et al., 2017, arXiv:1602.05629, algorithm 1, with any aggregation in the place of the mean.
"""

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch

from ...aggregation import FedAvg
from ...errors import EmptyRound, SettingError, TooFewClients
from ...federation.ranked import RANK, any_rank
from ...interfaces import Aggregation, Federation, traits_of
from ...learning.client import ClientState
from ...learning.local import LocalTraining
from ...learning.worker import OnStep, Worker
from ...ledger import Sizes, client_memory, train_flops
from ...messages import Manifest
from ...personalization import Personalization, Shared
from ...records import ClientFailure, ClientId, Cost, Facts, Message, Outcome, Round, ServerState
from ...tasks.shard import Shard
from ...tensors import Tensors, cast, norm, subtract
from .. import alone
from ..evaluation import evaluation_specs
from ..personal import KIND, personal_specs
from ..rounds.collect import Collector
from ..rounds.counts import limited
from ..rounds.drift import LikenessMeter
from ..rounds.sampling import Sampler, at_least
from ..rounds.too_few import too_few
from .client import AveragingClient
from .control import check_control
from .messages import TRAIN_FACTS, beside, losses_wanted, scale_facts, scale_reader, training_lengths, training_specs

__all__ = ["TRAIN_FACTS", "Averaging", "AveragingClient"]

ATTEMPTS = 2  # a round with too few answers is tried once more


@dataclass(frozen=True, kw_only=True)
class Averaging:
    """Clients train the shared weights on their own examples; the server averages what changed."""

    kind: Literal["averaging"] = "averaging"
    aggregation: Aggregation = field(default_factory=FedAvg)
    local: LocalTraining = field(default_factory=LocalTraining)
    weights: Literal["examples", "targets", "uniform"] = "examples"  # a client's share: its examples, its counted targets, or 1
    wire: Literal["float32", "bfloat16"] = "float32"  # dtype of tensors in messages
    quorum: float = 0.5  # least share of the asked clients whose updates make a round

    knows_gain: ClassVar[bool] = True  # whether clients can measure what their local training gains
    own_models: ClassVar[bool] = False  # whether each client has a model of its own, beside the server's

    def __post_init__(self) -> None:
        if not 0 < self.quorum <= 1:
            raise SettingError(f"quorum is a share of the asked clients, in (0, 1]; got {self.quorum}")
        if traits_of(self.aggregation).control:
            check_control(self.local, self.wire)

    def start(self, worker: Worker) -> ServerState:
        """Return the state before round 1: the weights that are in place."""
        shared = worker.tensors()
        return ServerState(version=0, shared=shared, method=self.aggregation.init(shared))

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

        Args:
            rounds: planned in the job; schedules over rounds end there.
            wanted: which validation losses clients measure in a round: before and after local training, or none.
            worker: the server's, for figures that need the tuning (cosines of prefixes); without it they are left out.

        Raises:
            TooFewClients: if less than the quorum answered, twice.
        """
        while True:
            index = state.version + 1
            spent: list[dict[str, Any]] = []  # rows of attempts that came to nothing: what they sent was sent
            failures: list[tuple[ClientId, ClientFailure]] = []
            for attempt in range(1, ATTEMPTS + 1):
                collector = Collector(
                    state.version,
                    sampler.draw(index),
                    self._weight,
                    trained=self.sent(state.shared, index),
                    scale=scale_reader(state.shared),
                    due_scale=None if worker is None else self._due_scale(worker, state.shared),
                    shapes={name: tensor.shape for name, tensor in state.shared.items()},
                )
                likeness = LikenessMeter(worker, state.shared)
                facts = {"rate_factor": self.local.round_factor(index, rounds), **losses_wanted(wanted(index))}
                outcome = self._round(federation, collector, likeness, state, facts, most_weight=sampler.most_weight)
                failures += collector.failures.items()
                if outcome is not None:
                    break
                spent += [{"attempt": attempt, **row} for row in collector.rows()]
                if attempt == ATTEMPTS:
                    raise TooFewClients(
                        too_few(
                            index,
                            "a usable update",
                            answered=len(collector.answered),
                            asked=len(collector.asked),
                            failures=collector.failures,
                            quorum=self.quorum,
                            attempts=ATTEMPTS,
                            rate=self.local.peak_learning_rate,
                        )
                    )
            assert outcome is not None
            step = subtract(outcome.shared, state.shared)
            cosines, mean_cosines = likeness.measure(outcome.shared)
            rows = spent + [{"attempt": attempt, **row, **cosines.get(str(row["client"]), {})} for row in collector.rows(step)]
            state = ServerState(version=index, shared=outcome.shared, method=outcome.state)
            figures = {"update_norm": norm(step), **outcome.figures, **mean_cosines}
            yield Round(index=index, state=state, figures=figures, clients=rows, failures=failures)

    def _round(
        self,
        federation: Federation,
        collector: Collector,
        likeness: LikenessMeter,
        state: ServerState,
        facts: Facts,
        *,
        most_weight: float,
    ) -> Outcome | None:
        """Return what one exchange with the asked clients gives, or None if too few of them answered."""
        tensors, facts = dict(state.shared), {"version": state.version, **facts}
        if traits_of(self.aggregation).control:
            tensors |= beside(state.method)
        if self._tells_clients:
            facts["clients"] = len(federation.clients)
        message = Message(kind="train", tensors=cast(tensors, getattr(torch, self.wire)), facts=facts)
        replies = federation.ask({client: message for client in collector.asked})
        updates = limited(collector.updates(replies), most_weight)
        try:
            outcome = self.aggregation.combine(likeness.watch(updates), state.shared, state.method)
        except EmptyRound:
            return None
        return outcome if len(collector.answered) >= at_least(self.quorum, len(collector.asked)) else None

    def client(
        self,
        worker: Worker,
        state: ClientState,
        *,
        personalization: Personalization | None = None,
        public: Shard | None = None,
        on_step: OnStep | None = None,
    ) -> "AveragingClient":
        """Return the half that answers messages at one client.

        Args:
            personalization: what the client keeps for itself; nothing if left out.
            public: the public test set, if there is one.
        """
        technique = personalization or Shared()
        return AveragingClient(
            protocol=self, worker=worker, state=state, personalization=technique, public=public, on_step=on_step
        )

    def sent(self, shared: Tensors, round: int) -> list[str]:
        """Return the names of the tensors that clients train and send in `round`, counted from 1."""
        trains = self.aggregation.trains(round)
        return [name for name in shared if trains(name)]

    def manifest(
        self,
        shared: Tensors,
        figures: Iterable[str],
        *,
        rounds: int = 1,
        personal: bool = False,
        home: bool = False,
        most_rank: int | None = None,
        local_only: bool = False,
        gain: bool = False,
    ) -> Manifest:
        """Return exactly what this protocol sends.

        Args:
            shared: the exchanged weights.
            figures: what evaluation reports.
            rounds: of the run: which tensors are sent may differ from round to round.
            personal: whether clients end with weights of their own.
            home: whether clients have weights of their own, not among `shared`, that take part in the evaluation of rounds.
            local_only: whether clients also train alone, to compare with.
            most_rank: the largest rank of LoRA, if ranks differ among clients.
            gain: whether clients measure what their local training gains.
        """
        figures = list(figures)
        up, down = training_specs(shared, **self._form(shared, rounds), gain=gain)
        specs = {"train": (up, down), "evaluate": evaluation_specs(shared, figures, home=home)}
        specs |= {KIND: personal_specs(shared, figures)} if personal else {}
        specs |= {alone.KIND: alone.alone_specs(shared, figures)} if local_only else {}
        if most_rank is not None:
            specs = {kind: (any_rank(upward), any_rank(downward)) for kind, (upward, downward) in specs.items()}
        return Manifest(
            up={kind: upward for kind, (upward, _) in specs.items()},
            down={kind: downward for kind, (_, downward) in specs.items()},
            sizes={} if most_rank is None else {RANK: most_rank},
        )

    def check(self, shared: Tensors, trained: Collection[str]) -> None:
        """Raise SettingError if the aggregation does not fit the exchanged tensors, or these not the names of the trained weights."""
        self.aggregation.init(shared)
        if traits_of(self.aggregation).control and set(shared) != set(trained):
            raise SettingError(
                f"control variates belong to trained weights, and this tuning exchanges something made of them ({min(shared)!r}); "
                "choose aggregation: {kind: fedavg}, or let the tuning exchange its weights (prefix: exchange: network)"
            )

    def sizes(self, shared: Tensors, *, rounds: int, validated: bool) -> Mapping[str, int]:
        """Return what of `Sizes` depends on the protocol: the bytes that a client sends and gets in a round, on average over `rounds`.

        Args:
            validated: whether clients measure losses on validation parts of their own.
        """
        up, down = training_lengths(shared, **self._form(shared, rounds), gain=validated)
        return {"up_bytes": up, "down_bytes": down}

    def _form(self, shared: Tensors, rounds: int) -> dict[str, Any]:
        """Return what the messages of training hang on, as `training_specs` takes it."""
        return {
            "dtype": self.wire,
            "sent": [self.sent(shared, round) for round in range(1, rounds + 1)],
            "control": traits_of(self.aggregation).control,
            "clients": self._tells_clients,
        }

    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what one client with so many examples spends in one round, foretold."""
        local = self.local
        seen = examples * local.epochs if local.steps is None else local.steps * local.batch_size * local.accumulate
        tokens = int(seen * tokens_per_example)
        moments = 2 if self.local.optimizer == "adamw" else int(self.local.momentum > 0)
        return Cost(
            up_bytes=sizes.up_bytes,
            down_bytes=sizes.down_bytes,
            train_flops=train_flops(tokens, sizes),
            memory_bytes=client_memory(sizes, moments=moments),
        )

    def _due_scale(self, worker: Worker, shared: Tensors) -> list[float]:
        """Return what every client must report of alpha / r: all have the server's tuning."""
        return list(scale_facts(shared, worker.tuning.scale(worker.model)).get("scale", []))

    @property
    def _tells_clients(self) -> bool:
        return traits_of(self.aggregation).counts_clients

    def _weight(self, facts: Facts) -> float:
        return 1.0 if self.weights == "uniform" else float(facts[self.weights])  # type: ignore[arg-type]
