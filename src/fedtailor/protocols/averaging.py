"""Averaging: clients train the shared weights, the server averages what changed.

Source: McMahan et al., 2017, arXiv:1602.05629, algorithm 1, with any aggregation in the place of the mean.
"""

import math
import time
from collections.abc import Collection, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from ..aggregation import FedAvg
from ..errors import EmptyRound, SettingError, TooFewClients
from ..interfaces import Aggregation, Control, Federation
from ..learning.client import ClientState
from ..learning.corrections import KEPT, controlled, kept_control, next_control, proximal, without_control
from ..learning.local import LocalTraining
from ..learning.training import Correction, train_locally
from ..learning.worker import OnStep, Worker
from ..ledger import Sizes, client_memory, message_bytes, train_flops
from ..protection import Manifest
from ..records import ClientFailure, ClientId, Cost, Fact, Facts, Message, Outcome, Round, ServerState
from ..tensors import Tensors, cast, count, norm, scale, subtract
from .averaging_messages import TRAIN_FACTS, apart, beside, scale_facts, scale_reader, training_specs
from .collect import Collector
from .evaluation import answer_evaluation, evaluation_specs
from .sampling import Sampler

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

    def __post_init__(self) -> None:
        if not 0 < self.quorum <= 1:
            raise SettingError(f"quorum is a share of the asked clients, in (0, 1]; got {self.quorum}")
        if isinstance(self.aggregation, Control):
            _check_plain_sgd(self.local)

    def start(self, worker: Worker) -> ServerState:
        """Return the state before round 1: the weights that are in place."""
        shared = worker.tensors()
        return ServerState(version=0, shared=shared, method=self.aggregation.init(shared))

    def serve(self, federation: Federation, state: ServerState, sampler: Sampler, *, rounds: int) -> Generator[Round, None, None]:
        """Yield after each round; what was yielded last is all that is needed to go on.

        Args:
            rounds: planned in the job; schedules over rounds end there.

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
                )
                outcome = self._round(federation, collector, state, self.local.round_factor(index, rounds))
                failures += collector.failures.items()
                if outcome is not None:
                    break
                spent += [{"attempt": attempt, **row} for row in collector.rows()]
                if attempt == ATTEMPTS:
                    raise TooFewClients(_too_few(index, collector, self.quorum))
            assert outcome is not None
            step = subtract(outcome.shared, state.shared)
            rows = spent + [{"attempt": attempt, **row} for row in collector.rows(step)]
            state = ServerState(version=index, shared=outcome.shared, method=outcome.state)
            figures = {"update_norm": norm(step), **outcome.figures}
            yield Round(index=index, state=state, figures=figures, clients=rows, failures=failures)

    def _round(self, federation: Federation, collector: Collector, state: ServerState, rate_factor: float) -> Outcome | None:
        """Return what one exchange with the asked clients gives, or None if too few of them answered."""
        tensors, facts = dict(state.shared), {"version": state.version, "rate_factor": rate_factor}
        if isinstance(self.aggregation, Control):
            tensors |= beside(self.aggregation.control(state.method))
            facts["clients"] = len(federation.clients)
        message = Message(kind="train", tensors=cast(tensors, getattr(torch, self.wire)), facts=facts)
        replies = federation.ask({client: message for client in collector.asked})
        try:
            outcome = self.aggregation.combine(collector.updates(replies), state.shared, state.method)
        except EmptyRound:
            return None
        return outcome if len(collector.answered) >= math.ceil(self.quorum * len(collector.asked)) else None

    def client(self, worker: Worker, state: ClientState, *, on_step: OnStep | None = None) -> "AveragingClient":
        """Return the half that answers messages at one client."""
        return AveragingClient(protocol=self, worker=worker, state=state, on_step=on_step)

    def sent(self, shared: Tensors, round: int) -> list[str]:
        """Return the names of the tensors that clients train and send in `round`, counted from 1."""
        trains = self.aggregation.trains(round)
        return [name for name in shared if trains(name)]

    def manifest(self, shared: Tensors, figures: Iterable[str], *, rounds: int = 1) -> Manifest:
        """Return exactly what this protocol sends.

        Args:
            shared: the exchanged weights.
            figures: what evaluation reports.
            rounds: of the run: which tensors are sent may differ from round to round.
        """
        up, down = training_specs(
            shared,
            dtype=self.wire,
            sent=[self.sent(shared, round) for round in range(1, rounds + 1)],
            control=isinstance(self.aggregation, Control),
        )
        up_evaluation, down_evaluation = evaluation_specs(shared, figures)
        return Manifest(up={"train": up, "evaluate": up_evaluation}, down={"train": down, "evaluate": down_evaluation})

    def check(self, shared: Tensors, trained: Collection[str]) -> None:
        """Raise SettingError if the aggregation does not fit the exchanged tensors, or these not the names of the trained weights."""
        self.aggregation.init(shared)
        if isinstance(self.aggregation, Control) and set(shared) != set(trained):
            raise SettingError(
                f"control variates belong to trained weights, and this tuning exchanges something made of them ({min(shared)!r}); "
                "choose aggregation: {kind: fedavg}, or let the tuning exchange its weights (prefix: exchange: network)"
            )

    def sizes(self, shared: Tensors, *, rounds: int) -> tuple[int, int]:
        """Return how many values a client sends up in a round, on average over `rounds`, and how many go both ways beside weights."""
        sent = sum(count({name: shared[name] for name in self.sent(shared, round)}) for round in range(1, rounds + 1))
        return int(sent / rounds), count(shared) if isinstance(self.aggregation, Control) else 0

    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what one client with so many examples spends in one round, foretold."""
        width = 4 if self.wire == "float32" else 2
        sent = sizes.shared if sizes.sent is None else sizes.sent
        local = self.local
        seen = examples * local.epochs if local.steps is None else local.steps * local.batch_size * local.accumulate
        tokens = int(seen * tokens_per_example)
        moments = 2 if self.local.optimizer == "adamw" else int(self.local.momentum > 0)
        return Cost(
            up_bytes=message_bytes(sent + sizes.extra, sizes.tensors, width),
            down_bytes=message_bytes(sizes.shared + sizes.extra, sizes.tensors, width),
            train_flops=train_flops(tokens, sizes),
            memory_bytes=client_memory(sizes, moments=moments),
        )

    def _weight(self, facts: Facts) -> float:
        return 1.0 if self.weights == "uniform" else float(facts[self.weights])  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class AveragingClient:
    """Answers "train" with an update and "evaluate" with figures."""

    protocol: Averaging
    worker: Worker
    state: ClientState
    on_step: OnStep | None = None

    def answer(self, message: Message) -> Message:
        """Return the reply to one message."""
        if message.kind == "evaluate":
            return answer_evaluation(self.worker, self.state, message)
        return self._train(message)

    def _train(self, message: Message) -> Message:
        version, rate_factor = int(message.facts["version"]), float(message.facts["rate_factor"])  # type: ignore[arg-type]
        worker, state, settings = self.worker, self.state, self.protocol.local
        shared, control = apart(message.tensors)
        recalled = state.recall(version)
        own = kept_control(recalled, control)
        sent = self.protocol.sent(shared, version + 1)
        worker.load(shared)
        measured = worker.peak.reset()
        facts: dict[str, Fact] = {"version": version, "examples": len(state.train)} | self._validation("before")
        began = time.perf_counter()
        trained = train_locally(
            worker,
            state.train,
            settings,
            round=version + 1,
            client=state.id,
            rate_factor=rate_factor,
            optimizer=without_control(recalled),
            corrections=_corrections(worker, settings, control, own),
            only=None if len(sent) == len(shared) else sent,
            on_step=self.on_step,
        )
        facts |= {
            "seconds": time.perf_counter() - began,
            "targets": trained.targets,
            "tokens": trained.tokens,
            "steps": len(trained.losses),
            "first_loss": trained.losses[0],
            "last_loss": trained.losses[-1],
        }
        facts |= {"peak_bytes": worker.peak.read()} if measured else {}
        facts |= self._validation("after")
        facts |= scale_facts(shared, worker.tuning.scale(worker.model))
        tensors, kept = dict(trained.delta), dict(trained.optimizer)
        if control:
            renewed = next_control(control, own, trained.delta, trained.rates)
            kept |= {f"{KEPT}{name}": value for name, value in renewed.items()}
            tensors |= beside(scale(subtract(renewed, own), 1 / int(message.facts["clients"])))  # type: ignore[arg-type]
        if kept:
            state.keep(version + 1, kept)
        return Message(kind="train", tensors=cast(tensors, getattr(torch, self.protocol.wire)), facts=facts)

    def _validation(self, moment: str) -> dict[str, Fact]:
        if not len(self.state.validation):
            return {}
        return {f"validation_{moment}": self.worker.evaluate(self.state.validation, generate=False).figures["loss"]}


def _corrections(worker: Worker, settings: LocalTraining, control: Tensors, own: Tensors) -> list[Correction]:
    """Return what changes gradients in local training, in order."""
    corrections = [controlled(control, own)] if control else []
    return corrections + ([proximal(worker.params, settings.proximal)] if settings.proximal else [])


def _check_plain_sgd(local: LocalTraining) -> None:
    """Raise SettingError unless a step of local training is a learning rate times a gradient."""
    other = {"optimizer": local.optimizer} if local.optimizer != "sgd" else {}
    other |= {name: getattr(local, name) for name in ("momentum", "weight_decay") if getattr(local, name)}
    if other:
        told = ", ".join(f"local.{name}: {value}" for name, value in other.items())
        raise SettingError(
            f"aggregation scaffold does not go with {told}: its control variates are mean gradients only under plain SGD; choose "
            "local: {optimizer: sgd, learning_rate: 0.1}, or keep it and choose aggregation: fedavg with local.proximal: 0.01"
        )


def _too_few(index: int, collector: Collector, quorum: float) -> str:
    reasons = "; ".join(f"{client}: {failure.kind} ({failure.mark})" for client, failure in collector.failures.items())
    return (
        f"round {index}: {len(collector.answered)} of {len(collector.asked)} clients sent a usable update, the quorum is {quorum:.0%} "
        f"(asked {ATTEMPTS} times). {reasons}. The state is saved: see clients/ID/log.txt, mend the cause and use --resume"
    )
