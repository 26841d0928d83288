"""Averaging: clients train the shared weights, the server averages what changed.

Source: McMahan et al., 2017, arXiv:1602.05629, algorithm 1, with any aggregation in the place of the mean.
"""

import math
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Literal

import torch

from ..aggregation import FedAvg
from ..errors import EmptyRound, SettingError, TooFewClients
from ..interfaces import Aggregation, Federation
from ..learning.client import ClientState
from ..learning.local import LocalTraining
from ..learning.training import train_locally
from ..learning.worker import OnStep, Worker
from ..ledger import Sizes, client_memory, message_bytes, train_flops
from ..protection import FactSpec, Manifest, MessageSpec, specs_of
from ..records import Cost, Fact, Facts, Message, Outcome, Round, ServerState
from ..tensors import Tensors, cast, norm, subtract
from .collect import Collector
from .evaluation import answer_evaluation, evaluation_specs
from .sampling import Sampler

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
            for attempt in range(1, ATTEMPTS + 1):
                collector = Collector(state.version, sampler.draw(index), self._weight)
                outcome = self._round(federation, collector, state, self.local.round_factor(index, rounds))
                if outcome is not None:
                    break
                if attempt == ATTEMPTS:
                    raise TooFewClients(_too_few(index, collector, self.quorum))
            assert outcome is not None
            step = subtract(outcome.shared, state.shared)
            rows = collector.rows(step)
            state = ServerState(version=index, shared=outcome.shared, method=outcome.state)
            yield Round(index=index, state=state, figures={"update_norm": norm(step)}, clients=rows, failures=collector.failures)

    def _round(self, federation: Federation, collector: Collector, state: ServerState, rate_factor: float) -> Outcome | None:
        """Return what one exchange with the asked clients gives, or None if too few of them answered."""
        message = Message(
            kind="train",
            tensors=cast(state.shared, getattr(torch, self.wire)),
            facts={"version": state.version, "rate_factor": rate_factor},
        )
        replies = federation.ask({client: message for client in collector.asked})
        try:
            outcome = self.aggregation.combine(collector.updates(replies), state.shared, state.method)
        except EmptyRound:
            return None
        return outcome if len(collector.answered) >= math.ceil(self.quorum * len(collector.asked)) else None

    def client(self, worker: Worker, state: ClientState, *, on_step: OnStep | None = None) -> "AveragingClient":
        """Return the half that answers messages at one client."""
        return AveragingClient(protocol=self, worker=worker, state=state, on_step=on_step)

    def manifest(self, shared: Tensors, figures: Iterable[str]) -> Manifest:
        """Return exactly what this protocol sends: `shared` are the exchanged weights, `figures` what evaluation reports."""
        tensors = specs_of(shared, self.wire)
        up_evaluation, down_evaluation = evaluation_specs(shared, figures)
        down = MessageSpec(
            tensors=tensors,
            facts={
                "version": FactSpec(type="int", purpose="rounds behind the shared weights"),
                "rate_factor": FactSpec(type="float", purpose="share of the learning rate in this round"),
            },
        )
        return Manifest(
            up={"train": MessageSpec(tensors=tensors, facts=TRAIN_FACTS), "evaluate": up_evaluation},
            down={"train": down, "evaluate": down_evaluation},
        )

    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what one client with so many examples spends in one round, foretold."""
        size = message_bytes(sizes.shared, sizes.tensors, 4 if self.wire == "float32" else 2)
        local = self.local
        seen = examples * local.epochs if local.steps is None else local.steps * local.batch_size * local.accumulate
        tokens = int(seen * tokens_per_example)
        moments = 2 if self.local.optimizer == "adamw" else int(self.local.momentum > 0)
        return Cost(
            up_bytes=size,
            down_bytes=size,
            train_flops=train_flops(tokens, sizes),
            memory_bytes=client_memory(sizes, moments=moments),
        )

    def _weight(self, facts: Facts) -> float:
        return 1.0 if self.weights == "uniform" else float(facts[self.weights])  # type: ignore[arg-type]


TRAIN_FACTS = {
    "version": FactSpec(type="int", purpose="the version of the shared weights that the update starts from"),
    "examples": FactSpec(type="int", purpose="training examples of the client: its weight in the average"),
    "targets": FactSpec(type="int", purpose="targets counted by the loss in this round: its weight if the job says so"),
    "tokens": FactSpec(type="int", purpose="tokens seen in this round: operations are counted from it"),
    "steps": FactSpec(type="int", purpose="optimizer steps taken"),
    "first_loss": FactSpec(type="float", purpose="training loss of the first step"),
    "last_loss": FactSpec(type="float", purpose="training loss of the last step"),
    "validation_before": FactSpec(type="float", purpose="loss on the client's validation part as received", optional=True),
    "validation_after": FactSpec(type="float", purpose="loss on the client's validation part as trained", optional=True),
    "seconds": FactSpec(type="float", purpose="time that local training took"),
    "peak_bytes": FactSpec(type="int", purpose="peak memory, where the system can tell it per client", optional=True),
}


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
        worker.load(message.tensors)
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
            optimizer=state.recall(version),
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
        if trained.optimizer:
            state.keep(version + 1, trained.optimizer)
        return Message(kind="train", tensors=cast(trained.delta, getattr(torch, self.protocol.wire)), facts=facts)

    def _validation(self, moment: str) -> dict[str, Fact]:
        if not len(self.state.validation):
            return {}
        return {f"validation_{moment}": self.worker.evaluate(self.state.validation, generate=False).figures["loss"]}


def _too_few(index: int, collector: Collector, quorum: float) -> str:
    reasons = "; ".join(f"{client}: {failure.kind} ({failure.mark})" for client, failure in collector.failures.items())
    return (
        f"round {index}: {len(collector.answered)} of {len(collector.asked)} clients sent a usable update, the quorum is {quorum:.0%} "
        f"(asked {ATTEMPTS} times). {reasons}. The state is saved: see clients/ID/log.txt, mend the cause and use --resume"
    )
