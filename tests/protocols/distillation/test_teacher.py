"""What all clients say together."""

import pytest
import torch

from fedtailor.aggregation.logits import EntropyReduced, EntropyWeights, LabelCounts, Mean
from fedtailor.messages.record import read
from fedtailor.messages.wires.logits import LogitsWire
from fedtailor.protocols.distillation.messages import Said
from fedtailor.protocols.distillation.teacher import _answer, consensus
from fedtailor.records import Message

CLASSES = 9


def said_by(tensors, **facts):
    """Return what a client says: logits, and the facts that go with them."""
    others = {"version": 0, "targets": 1, "tokens": 1, "forward_tokens": 1, "steps": 1, "seconds": 1.0}
    return read(Message(kind=Said.kind, tensors=tensors, facts={**others, **facts}), Said)


def weights_of(said):
    return {client: float(each.examples) for client, each in said.items()}


def answers(wire):
    draw = torch.Generator().manual_seed(5)
    counts = {"a": [9, 0, 1, 4, 2, 0, 1, 1, 3], "b": [0, 8, 1, 1, 6, 0, 5, 2, 1]}
    return {
        name: said_by(wire.encode(3 * torch.randn(7, CLASSES, generator=draw)), examples=10 + number, label_counts=counts[name])
        for number, name in enumerate(counts)
    }


@pytest.mark.parametrize("top_k", [None, 2, 5])
@pytest.mark.parametrize(
    "rule", [Mean(), Mean(of="logits"), EntropyReduced(temperature=0.2), EntropyWeights(), LabelCounts()], ids=repr
)
def test_a_teacher_that_is_kept_short_says_what_the_rule_makes_of_the_rows(rule, top_k):
    wire = LogitsWire(dtype="float32", classes=CLASSES, top_k=top_k)
    said = answers(wire)
    teacher = consensus(said, weights_of(said), wire, rule, places=7)
    every = torch.arange(7)
    whole = rule.combine(
        [_answer(client, each, float(each.examples), wire, every) for client, each in said.items()], complete=top_k is None
    )
    torch.testing.assert_close(teacher(every), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(teacher(torch.tensor([3, 0])), whole[[3, 0]], rtol=1e-4, atol=1e-5)


def test_agreement_by_hand():
    wire = LogitsWire(dtype="float32", classes=2)
    rows = {"a": [[2.0, 0.0], [2.0, 0.0]], "b": [[1.0, 0.0], [0.0, 1.0]]}  # means (1.5, 0), (1, 0.5): the first class, twice
    said = {name: said_by(wire.encode(torch.tensor(value)), examples=1) for name, value in rows.items()}
    assert consensus(said, weights_of(said), wire, Mean(), places=2).agreement == 0.75
