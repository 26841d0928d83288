"""How much better the weights of a run fit what they were trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..interfaces import ByClient, Ending
from ..messages import Call, FactSpec, Own, Record, specs_of
from ..messages.record import fact, tensors
from ..metrics import Metric
from ..tensors import Tensors

GAP = FactSpec(type="float", purpose="loss on the test part less that on the training part", reveals=Own("gap"), over="test")


@dataclass(frozen=True, kw_only=True)
class AskGap(Record, kind="loss-gap"):
    """Weights to measure."""

    shared: Tensors = tensors()


@dataclass(frozen=True, kw_only=True)
class SayGap(Record, kind="loss-gap"):
    """What was measured."""

    gap: float = fact(GAP)


@dataclass(frozen=True, kw_only=True)
class LossGap:
    """Asks each client for its gap."""

    kind: Literal["loss-gap"] = "loss-gap"
    section: ClassVar[str] = "loss_gap"
    metrics: ClassVar[Sequence[Metric]] = (Metric(name="gap", title="loss gap", higher_is_better=False),)
    reports: ClassVar[Mapping[str, str]] = {"gap": "how much better weights fit its training examples than others"}

    def calls(self, shared: Tensors, figures: Sequence[str]) -> Sequence[Call]:
        """Return its one exchange."""
        return [Call(question=AskGap, answers=(SayGap,), forms={"shared": specs_of(shared)})]

    def handlers(self, client: Any) -> Mapping[type[Record], Any]:
        """Return what measures at a client."""

        def measure(asked: AskGap) -> SayGap:
            client.worker.load(asked.shared)
            trained, held_out = (
                client.worker.evaluate(part, generate=False).figures["loss"] for part in (client.train, client.test)
            )
            return SayGap(gap=held_out - trained)

        return {AskGap: measure}

    def carry_out(self, end: Ending) -> ByClient:
        """Return the gap of each client."""
        found = end.ask(AskGap(shared=end.shared), SayGap, "the gap")
        return {client: {"gap": said.gap} for client, said in found.items()}
