"""What keeps to the form of a manifest may still be out of its bounds; and refusing it takes no memory."""

import json
import tracemalloc

import pytest
import torch

from fedtailor.errors import NotFinite, OffManifest
from fedtailor.messages import FactSpec, Manifest, MessageSpec, TensorSpec, encode
from fedtailor.messages.facts import loss, whole
from fedtailor.messages.stream import Stream
from fedtailor.protection import Gate
from fedtailor.records import Message

FACTS = {
    "steps": whole("steps"),
    "loss": loss("a loss", over="train"),
    "rates": FactSpec(type="list[float]", purpose="rates", least=0.0, most=1.0, most_items=3, optional=True),
    "score": FactSpec(type="float", purpose="means nothing without steps", optional=True, needs=("loss",)),
}
SPEC = MessageSpec(tensors={"w": TensorSpec(dtype="float32", shape=("rows", 2), most=10.0)}, facts=FACTS)
OTHER = MessageSpec(facts={"steps": whole("steps")})
MANIFEST = Manifest(
    up={"train": SPEC, "end": OTHER},
    down={"train": MessageSpec(answers=("train",)), "ask": MessageSpec(answers=("end",))},
    sizes={"rows": 3},
)
GATE = Gate(manifest=MANIFEST)


def message(value=1.0, **facts):
    return Message(kind="train", tensors={"w": torch.full((3, 2), value)}, facts={"steps": 1, "loss": 0.5} | facts)


def raw(header: str, tensors=b""):
    return len(header).to_bytes(4, "big") + header.encode() + tensors


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"steps": 2**64}, "a whole number of 65 bits"),
        ({"steps": 10**80}, "a whole number of 266 bits"),
        ({"steps": -1}, "is -1"),
        ({"loss": -1e9}, r"is -1000000000.0, the manifest allows from -0.001 to 1e\+06"),
        ({"loss": 1e308}, "is 1e[+]308"),
        ({"rates": [0.5, 2.0]}, "is 2.0"),
        ({"rates": [0.0] * 4}, "has 4 items; the manifest allows 3"),
    ],
)
def test_a_fact_out_of_its_bounds_passes_neither_way(facts, words):
    with pytest.raises(OffManifest, match=words):
        GATE.leave_client(message(**facts))
    with pytest.raises(OffManifest, match=words):
        GATE.enter_server(encode(message(**facts)))


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_does_not_arrive(bad):
    header = '{"facts":{"loss":BAD,"steps":1},"kind":"train"}'.replace("BAD", bad)
    with pytest.raises(OffManifest):
        GATE.enter_server(raw(header, encode(message())[4 + len(_head(message())) :]))


def _head(message):
    data = encode(message)
    return data[4 : 4 + int.from_bytes(data[:4], "big")]


def test_a_fact_that_means_nothing_without_another_does_not_come_alone():
    alone = Message(kind="train", tensors=message().tensors, facts={"steps": 1, "score": 0.5})
    with pytest.raises(OffManifest, match=r"missing: \['loss'"):
        GATE.leave_client(alone)


def test_values_beyond_their_bound_do_not_pass_in_bytes_or_streams():
    for data in (encode(message(11.0)), Stream(message(11.0))):
        with pytest.raises(OffManifest, match="tensor 'w' holds 11, the manifest allows 10: did training diverge"):
            GATE.enter_server(data)
    with pytest.raises(NotFinite, match="'w' holds NaN or infinity"):
        GATE.leave_client(message(float("nan")))


def test_only_a_kind_that_answers_the_request_arrives():
    assert GATE.enter_server(encode(message()), "train").kind == "train"
    for data in (encode(message()), Stream(message())):
        with pytest.raises(OffManifest, match=r"message 'train' came where 'end' was due|at most"):
            GATE.enter_server(data, "ask")


def test_a_key_twice_in_the_header_or_among_tensors_does_not_arrive():
    for header in (
        '{"facts":{"steps":1,"steps":1},"kind":"end"}',
        '{"facts":{"steps":1},"kind":"end","kind":"end"}',
        '{"facts":{"steps":1},"kind":"end"} ',
    ):
        with pytest.raises(OffManifest, match="not written as ours"):
            GATE.enter_server(raw(header))
    table = b'{"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}'
    with pytest.raises(OffManifest, match="cannot be read"):
        GATE.enter_server(raw(_head(message()).decode(), len(table).to_bytes(8, "little") + table + bytes(8)))


def test_the_longest_message_that_a_manifest_allows_passes():
    longest = message(rates=[0.1234567890123456] * 3, score=-1.2345678901234567e-300, loss=0.12345678901234567, steps=2**53)
    assert len(encode(longest)) <= MANIFEST.most_bytes("up", ["train"])[1]
    assert GATE.enter_server(encode(longest), "train").facts == longest.facts


def peak_of(gate, data, asked=None):
    """Return the most bytes that refusing a message takes beside the message itself."""
    tracemalloc.start()
    try:
        with pytest.raises(OffManifest):
            gate.enter_server(data, asked)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_refusing_a_large_message_takes_no_memory():
    size = 2**23  # values: 32 MB
    wide = Gate(manifest=Manifest(up={"train": MessageSpec(tensors={"w": TensorSpec(dtype="float32", shape=(size,))})}, down={}))
    other = encode(Message(kind="train", tensors={"w": torch.zeros(size, dtype=torch.int32)}))  # of a length that is allowed
    many = raw(json.dumps({"facts": {"steps": [1] * 2**22}, "kind": "end"}, separators=(",", ":")))
    assert peak_of(GATE, encode(Message(kind="train", tensors={"w": torch.zeros(size)}))) < 100_000
    assert peak_of(wide, other) < 100_000
    assert peak_of(GATE, many) < 100_000
    assert peak_of(GATE, b"\xff\xff\xff\xff" + bytes(2**25)) < 100_000
