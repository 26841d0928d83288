"""What passes the gate and what does not."""

import pytest
import torch

from fedtailor.errors import NotFinite, OffManifest
from fedtailor.messages import FactSpec, Manifest, MessageSpec, TensorSpec
from fedtailor.protection import Gate
from fedtailor.records import Message

SPEC = MessageSpec(
    tensors={"w": TensorSpec(dtype="float32", shape=("rank", 2))},
    facts={
        "examples": FactSpec(type="int", purpose="weight"),
        "note": FactSpec(type="str", purpose="a remark", most_characters=5, optional=True),
    },
)
GATE = Gate(manifest=Manifest(up={"train": SPEC}, down={"train": SPEC}, sizes={"rank": 4}))


def message(kind="train", shape=(3, 2), dtype=torch.float32, tensors=None, **facts):
    tensors = {"w": torch.ones(shape, dtype=dtype)} if tensors is None else tensors
    return Message(kind=kind, tensors=tensors, facts={"examples": 3} | facts)


def test_what_is_listed_passes_both_ways():
    arrived = GATE.enter_server(GATE.leave_client(message(note="hello")))
    assert (arrived.facts["note"], arrived.tensors["w"].shape) == ("hello", (3, 2))
    assert GATE.enter_client(GATE.leave_server(message())).facts == {"examples": 3}


@pytest.mark.parametrize(
    ("bad", "names"),
    [
        (message(kind="gossip"), "gossip"),
        (message(shape=(5, 2)), "w"),  # over the bound of the named size
        (message(shape=(3, 3)), "w"),
        (message(shape=(6,)), "w"),
        (message(dtype=torch.float64), "float64"),
        (message(tensors={}), "missing"),
        (message(tensors={"w": torch.ones(3, 2), "secret": torch.ones(1)}), "secret"),
        (message(names="Ann"), "names"),
        (message(note="longer than five"), "note"),
        (message(note=5), "note"),
        (message(examples=2.5), "examples"),
        (message(examples=True), "examples"),
        (Message(kind="train", tensors={"w": torch.ones(3, 2)}), "examples"),
    ],
)
def test_what_is_not_listed_does_not_leave_and_does_not_arrive(bad, names):
    from fedtailor.messages import encode

    with pytest.raises(OffManifest, match=names):
        GATE.leave_client(bad)
    with pytest.raises(OffManifest, match=names):
        GATE.enter_server(encode(bad))


def test_nan_does_not_leave():
    with pytest.raises(NotFinite, match="'w'"):
        GATE.leave_client(message(tensors={"w": torch.full((1, 2), float("nan"))}))
