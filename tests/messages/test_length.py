"""How long messages will be, before there are any."""

import pytest
import torch

from fedtailor.messages import FactSpec, TensorSpec, encode, length_of, usual_facts
from fedtailor.records import Message


def test_a_message_without_tensors_by_hand():
    # {"facts":{"version":10},"kind":"train"} has 39 characters, behind the 4 bytes of their number
    assert length_of("train", {}, {"version": 10}) == 4 + 39


def test_a_message_with_one_tensor_by_hand():
    # {"facts":{},"kind":"x"} has 23 characters; safetensors: 8 bytes, {"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}} of 57
    # padded to 64, 24 of values
    assert length_of("x", {"w": TensorSpec(dtype="float32", shape=(2, 3))}, {}) == 4 + 23 + 8 + 64 + 24


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8", "uint8", "int16", "int32"])
def test_the_length_is_that_of_the_encoded_message(dtype):
    specs = {f"layer.{n}.w": TensorSpec(dtype=dtype, shape=(n, 7)) for n in (0, 3, 12)} | {
        "s": TensorSpec(dtype="float32", shape=())
    }
    tensors = {name: torch.ones(spec.shape, dtype=getattr(torch, spec.dtype)) for name, spec in specs.items()}
    facts = {"version": 3, "loss": 0.5, "counts": [1, 2, 3]}
    assert length_of("train", specs, facts) == len(encode(Message(kind="train", tensors=tensors, facts=facts)))


def test_a_size_that_is_but_a_name_has_no_length():
    with pytest.raises(ValueError, match="places"):
        length_of("train", {"w": TensorSpec(dtype="int8", shape=("places",))}, {})


def test_facts_that_are_one_number_have_a_usual_length():
    specs = {name: FactSpec(type=kind, purpose="") for name, kind in (("n", "int"), ("x", "float"), ("all", "list[int]"))}
    assert {name: len(repr(value)) for name, value in usual_facts(specs).items()} == {"n": 4, "x": 19}
