"""What all clients say together, kept in a form that any position can be read from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...aggregation.logits import Answer, LogitAggregation
from ...interfaces import traits_of
from ...messages.wires.logits import LogitsWire
from ...records import ClientId
from ...tensors import Tensors
from .messages import Said

CHUNK_VALUES = 2**23  # of logits that are decoded at a time for each client: 32 MB


@dataclass(frozen=True, kw_only=True)
class ConsensusTeacher:
    """The aggregated logits of one round."""

    wire: LogitsWire  # in float32
    tensors: Tensors
    places: int
    agreement: float  # share of positions at which a client's first choice is the teacher's, averaged over clients

    def __call__(self, places: Tensor) -> Tensor:
        """Return log-probabilities [N, C] at some positions."""
        return self.wire.decode(self.tensors, places)

    def encode(self, wire: LogitsWire) -> dict[str, Tensor]:
        """Return it as it goes back to the clients."""
        return _in_chunks(self.places, wire.classes, lambda places: wire.encode(self(places)))


def consensus(
    answers: Mapping[ClientId, Said],
    weights: Mapping[ClientId, float],
    wire: LogitsWire,
    aggregation: LogitAggregation,
    *,
    places: int,
) -> ConsensusTeacher:
    """Return what the aggregation makes of the clients' logits, some positions at a time.

    Where clients send k entries of each row, the teacher has at most k for each of them and the same mass for each of the others: nothing
    is lost by keeping those entries alone. Rules that weigh by class give absent entries masses of their own: then rows are kept whole.

    Args:
        answers: in the order of client ids; each holds rows for all `places`.
        weights: what each client counts.
        wire: the form of their logits.
    """
    top_k = None if wire.top_k is None or traits_of(aggregation).needs_label_counts else wire.top_k * len(answers)
    cut = None if top_k is None or top_k >= wire.classes else top_k
    kept = LogitsWire(dtype="float32", classes=wire.classes, top_k=cut, temperature=wire.temperature)
    agreed = 0

    def combined(chosen: Tensor) -> dict[str, Tensor]:
        nonlocal agreed
        parts = [_answer(client, said, weights[client], wire, chosen) for client, said in answers.items()]
        logp_MC = aggregation.combine(parts, complete=wire.top_k is None)
        first_M = logp_MC.argmax(-1)
        agreed += sum(int((part.logp_MC.argmax(-1) == first_M).sum()) for part in parts)
        return kept.encode(logp_MC)

    tensors = _in_chunks(places, wire.classes, combined)
    return ConsensusTeacher(wire=kept, tensors=tensors, places=places, agreement=agreed / (places * len(answers)))


def _answer(client: ClientId, said: Said, weight: float, wire: LogitsWire, places: Tensor) -> Answer:
    counts = said.label_counts
    return Answer(
        client=client,
        logp_MC=wire.decode(said.said, places),
        examples=weight,
        label_counts_C=None if counts is None else torch.tensor(counts, dtype=torch.float32),
    )


def _in_chunks(places: int, classes: int, make: Callable[[Tensor], dict[str, Tensor]]) -> dict[str, Tensor]:
    size = max(1, CHUNK_VALUES // classes)
    chunks = [make(torch.arange(begin, min(begin + size, places))) for begin in range(0, places, size)]
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}
