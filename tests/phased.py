"""A phase of a user's own, as a job names it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fedtailor.interfaces import ByClient, Ending
from fedtailor.messages import Call, Record, specs_of
from fedtailor.messages.facts import loss
from fedtailor.messages.record import fact, tensors
from fedtailor.metrics import Metric
from fedtailor.tensors import Tensors


@dataclass(frozen=True, kw_only=True)
class AskGap(Record, kind="gap"):
    """Weights to measure on examples that they were trained on, and on others."""

    shared: Tensors = tensors()


@dataclass(frozen=True, kw_only=True)
class Gap(Record, kind="gap"):
    """How much less the loss is on what was trained on."""

    trained: float | None = fact(loss("loss on the client's training part", over="train"))
    held_out: float | None = fact(loss("loss on the client's test part", over="test"))


@dataclass(frozen=True, kw_only=True)
class GapPhase:
    """Asks each client by how much the weights fit its training part better than its test part."""

    times: float = 1.0  # what the gap is multiplied by
    section: ClassVar[str] = "gap"
    metrics: ClassVar[Sequence[Metric]] = (Metric(name="gap", title="loss gap", higher_is_better=False),)
    reports: ClassVar[Mapping[str, str]] = {}

    def calls(self, shared: Tensors, figures: Sequence[str]) -> Sequence[Call]:
        return [Call(question=AskGap, answers=(Gap,), forms={"shared": specs_of(shared)})]

    def handlers(self, client: Any) -> Mapping[type[Record], Any]:
        return {AskGap: lambda asked: self._measure(client, asked)}

    def carry_out(self, end: Ending) -> ByClient:
        found = end.ask(AskGap(shared=end.shared), Gap, "the gap")
        return {
            client: {"gap": self.times * (said.held_out - said.trained)}
            for client, said in found.items()
            if said.trained is not None and said.held_out is not None
        }

    def _measure(self, client: Any, asked: AskGap) -> Gap:
        client.worker.load(asked.shared)
        losses = [client.worker.evaluate(part, generate=False).figures["loss"] for part in (client.train, client.test)]
        return Gap(trained=losses[0], held_out=losses[1])
