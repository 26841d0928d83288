"""The gate of a site: what it does not answer, whatever the server asks for."""

import json
import sys

import pytest
import torch

from fedtailor.errors import JobError, OffManifest, RunError
from fedtailor.network.at_site import Guarded, Refused, site_parts
from fedtailor.network.meeting import job_to_send
from fedtailor.network.policy import Policy
from fedtailor.network.site_file import SiteFile
from fedtailor.own_classes import fedtailors_classes_alone
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


@pytest.fixture
def opened(make_job, tiny_backbone_folder, tmp_path):
    """Return a way to open a job at a site, as its model's process does it; the hub has put other sections in."""

    def open_there(policy, **sections):
        file = SiteFile(data=("nowhere.jsonl",), backbones={"tiny-llama": str(tiny_backbone_folder)}, policy=policy)
        told = json.loads(json.dumps(job_to_send(make_job(protocol={"kind": "distillation", "public": "p.jsonl"}))))
        with fedtailors_classes_alone():
            site_parts("site-1", tmp_path, file, {"run": "a", "job": told | sections, "sites": ["site-1"]}, print)

    return open_there


def test_what_a_hub_leaves_out_of_a_job_is_held_against_the_policy_too(opened):
    quiet = Policy(tell=("examples", "figures"))
    left_out = {"kind": "distillation", "public": "sent"}  # public_fit is true where nothing is said of it
    with pytest.raises(Refused, match="needs to be told public-fit"):
        opened(quiet, protocol=left_out)


@pytest.mark.parametrize("section", ["personalization", "protection", "tuning"])
def test_no_module_is_imported_because_a_job_names_it(opened, tmp_path, monkeypatch, section):
    (tmp_path / "of_the_hubs.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(str(tmp_path))
    name = "of_the_hubs:Class"
    with pytest.raises(JobError, match="only techniques that come with fedtailor"):
        opened(Policy(), **{section: [name] if section == "protection" else name})
    assert "of_the_hubs" not in sys.modules
