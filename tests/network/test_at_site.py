"""The gate of a site: what it does not answer, whatever the server asks for."""

import pytest
import torch

from fedtailor.errors import OffManifest, RunError
from fedtailor.network.at_site import Guarded
from fedtailor.protection import FactSpec, Manifest, MessageSpec, TensorSpec, decode, encode
from fedtailor.records import Message

FACTS = {
    name: FactSpec(type="float", purpose="a figure", optional=True)
    for name in ("validation.loss", "test.loss", "validation_after")
}
ASKED = {"version": FactSpec(type="int", purpose="rounds"), "rate_factor": FactSpec(type="float", purpose="rate")}
MANIFEST = Manifest(
    up={
        "train": MessageSpec(facts={**FACTS, "examples": FactSpec(type="int", purpose="count")}),
        "evaluate": MessageSpec(facts=FACTS),
    },
    down={
        "train": MessageSpec(tensors={"w": TensorSpec(dtype="float32", shape=(2,))}, facts=ASKED),
        "evaluate": MessageSpec(facts={"name": FactSpec(type="str", purpose="moment", most_characters=40)}),
    },
)


class Half:
    def answer(self, message):
        told = {"validation_after": 1.0, "examples": 3} if message.kind == "train" else {"validation.loss": 1.0, "test.loss": 2.0}
        return Message(kind=message.kind, facts=told)


def guarded(**settings):
    return Guarded(half=Half(), manifest=MANIFEST, **{"tells_figures": True, "rounds": 2, **settings})


def train(version=0):
    return encode(Message(kind="train", tensors={"w": torch.ones(2)}, facts={"version": version, "rate_factor": 1.0}))


def facts(reply):
    return dict(decode(reply).facts)


def test_figures_that_are_not_told_are_left_out_and_all_else_passes():
    evaluate = encode(Message(kind="evaluate", facts={"name": "round-3"}))
    assert facts(guarded().answer(evaluate)) == {"validation.loss": 1.0, "test.loss": 2.0}
    quiet = guarded(tells_figures=False)
    assert facts(quiet.answer(evaluate)) == {}
    assert facts(quiet.answer(train())) == {"examples": 3}


def test_no_more_rounds_are_trained_than_the_job_has():
    half = guarded()
    half.answer(train(1))
    with pytest.raises(RunError, match="round 2 was asked for, and the job has 2"):
        half.answer(train(2))


def test_a_round_is_not_trained_again_and_again():
    half = guarded()
    for _ in range(4):  # each of two rounds may be tried twice
        half.answer(train())
    with pytest.raises(RunError, match="5 times"):
        half.answer(train())


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a.b"])
def test_a_moments_name_is_no_path(name):
    with pytest.raises(OffManifest):
        guarded().answer(encode(Message(kind="evaluate", facts={"name": name})))


def test_another_shape_than_the_sites_own_manifest_has_is_refused():
    message = Message(kind="train", tensors={"w": torch.ones(3)}, facts={"version": 0, "rate_factor": 1.0})
    with pytest.raises(OffManifest):
        guarded().answer(encode(message))
