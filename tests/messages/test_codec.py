"""Messages as bytes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedtailor.errors import OffManifest
from fedtailor.messages import decode, encode
from fedtailor.messages.stream import Stream
from fedtailor.records import Message
from fedtailor.tensors import Lazy

FACTS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.one_of(
        st.integers(-(2**53), 2**53),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=20),
        st.lists(st.integers(0, 9), max_size=4),
    ),
    max_size=5,
)
TENSORS = st.dictionaries(
    st.text("abc.", min_size=1, max_size=6),
    st.tuples(
        st.sampled_from([torch.float32, torch.bfloat16, torch.int32, torch.float16, torch.int64, torch.uint8]),
        st.lists(st.integers(0, 4), max_size=3),
    ),
    max_size=4,
)


@given(FACTS, TENSORS)
def test_decode_gives_back_what_was_encoded(facts, forms):
    tensors = {name: torch.randn(shape).mul(9).to(dtype) for name, (dtype, shape) in forms.items()}
    message = decode(encode(Message(kind="train", tensors=tensors, facts=facts)))
    assert message.kind == "train"
    assert message.facts == facts
    assert message.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert message.tensors[name].dtype == tensor.dtype
        assert torch.equal(message.tensors[name], tensor)


@given(FACTS, TENSORS)
def test_a_stream_has_the_bytes_of_the_whole_and_reads_the_same(facts, forms):
    tensors = {name: torch.randn(shape).mul(9).to(dtype) for name, (dtype, shape) in forms.items()}
    message = Message(kind="train", tensors=tensors, facts=facts)
    stream, whole = Stream(message), encode(message)
    if tensors:
        assert b"".join(stream) == whole
        assert len(stream) == len(whole)
    arrived = stream.decode()
    assert (arrived.kind, arrived.facts, list(arrived.tensors)) == (message.kind, message.facts, list(tensors))
    for name, tensor in tensors.items():
        assert arrived.tensors[name].dtype == tensor.dtype
        assert torch.equal(arrived.tensors[name], tensor)


def test_a_stream_makes_no_tensor_for_its_head_and_one_at_a_time_after():
    made = []

    def double(tensor):
        if not tensor.is_meta:
            made.append(tuple(tensor.shape))
        return tensor * 2

    stream = Stream(Message(kind="k", tensors=Lazy(double, {"b": torch.ones(2), "a": torch.ones(3)})))
    assert len(stream) == len(encode(Message(kind="k", tensors={"a": torch.ones(3), "b": torch.ones(2)})))
    assert made == []
    parts = iter(stream)
    next(parts), next(parts)
    assert made == [(3,)]
    assert stream.decode().tensors["b"].tolist() == [2.0, 2.0]


def test_equal_messages_have_equal_bytes_whatever_the_order():
    one = Message(kind="k", facts={"a": 1, "b": 2}, tensors={"x": torch.ones(1), "y": torch.zeros(1)})
    other = Message(kind="k", facts={"b": 2, "a": 1}, tensors={"y": torch.zeros(1), "x": torch.ones(1)})
    assert encode(one) == encode(other)


@pytest.mark.parametrize(
    "data", [b"", b"\x00\x00\x00\x05hello", b"\x00\x00\x00\x02[]", encode(Message(kind="k", tensors={"a": torch.ones(3)}))[:-1]]
)
def test_bytes_that_are_no_message_are_refused(data):
    with pytest.raises(OffManifest):
        decode(data)


def test_a_fact_that_is_not_finite_is_refused():
    with pytest.raises(OffManifest, match="JSON"):
        encode(Message(kind="k", facts={"loss": float("nan")}))
