"""What all clients say together."""

import pytest
import torch

from fedtailor.aggregation.logits import EntropyReduced, EntropyWeights, LabelCounts, Mean
from fedtailor.messages.wires.logits import LogitsWire
from fedtailor.protocols.distillation.teacher import _answer, consensus
from fedtailor.records import Message

CLASSES = 9


def answers(wire):
    draw = torch.Generator().manual_seed(5)
    counts = {"a": [9, 0, 1, 4, 2, 0, 1, 1, 3], "b": [0, 8, 1, 1, 6, 0, 5, 2, 1]}
    return {
        name: Message(
            kind="train",
            tensors=wire.encode(3 * torch.randn(7, CLASSES, generator=draw)),
            facts={"examples": 10 + number, "label_counts": counts[name]},
        )
        for number, name in enumerate(counts)
    }


@pytest.mark.parametrize("top_k", [None, 2, 5])
@pytest.mark.parametrize(
    "rule", [Mean(), Mean(of="logits"), EntropyReduced(temperature=0.2), EntropyWeights(), LabelCounts()], ids=repr
)
def test_a_teacher_that_is_kept_short_says_what_the_rule_makes_of_the_rows(rule, top_k):
    wire = LogitsWire(dtype="float32", classes=CLASSES, top_k=top_k)
    said = answers(wire)
    teacher = consensus(said, wire, rule, places=7)
    every = torch.arange(7)
    whole = rule.combine([_answer(client, message, wire, every) for client, message in said.items()], complete=top_k is None)
    torch.testing.assert_close(teacher(every), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(teacher(torch.tensor([3, 0])), whole[[3, 0]], rtol=1e-4, atol=1e-5)


def test_agreement_by_hand():
    wire = LogitsWire(dtype="float32", classes=2)
    rows = {"a": [[2.0, 0.0], [2.0, 0.0]], "b": [[1.0, 0.0], [0.0, 1.0]]}  # means (1.5, 0), (1, 0.5): the first class, twice
    said = {
        name: Message(kind="train", tensors=wire.encode(torch.tensor(value)), facts={"examples": 1})
        for name, value in rows.items()
    }
    assert consensus(said, wire, Mean(), places=2).agreement == 0.75
