"""The gate of a site: what it does not answer, whatever the server asks for."""

import json
import sys
from dataclasses import dataclass, replace

import pytest
import torch

from fedtailor.data import Clients, Data, divide
from fedtailor.data.partition import Natural
from fedtailor.errors import JobError, OffManifest, RunError
from fedtailor.job.own_classes import fedtailors_classes_alone
from fedtailor.messages import Call, FactSpec, Manifest, MessageSpec, Record, TensorSpec, decode, encode, manifest_of
from fedtailor.messages.record import tensors
from fedtailor.messages.specs import Coded
from fedtailor.network.kit.policy import Policy
from fedtailor.network.kit.site_file import SiteFile
from fedtailor.network.meeting.meeting import job_to_send
from fedtailor.network.site.at_site import OneOwner, Refused, _divided, site_parts
from fedtailor.network.site.guarded import Guarded
from fedtailor.protection import make_gate
from fedtailor.records import Message

FACTS = {
    **{
        name: FactSpec(type="float", purpose="a figure", optional=True, reveals="figures", over=over)
        for name, over in (("validation.loss", "validation"), ("test.loss", "test"), ("validation_after", "validation"))
    },
    "score": FactSpec(
        type="float", purpose="of a prompt on the client's own examples: nobody said what it reveals", optional=True
    ),
    "first_loss": FactSpec(type="float", purpose="of one batch", optional=True, reveals="figures", over="step"),
    "seconds": FactSpec(type="float", purpose="time", optional=True, reveals="work"),
}
ASKED = {"version": FactSpec(type="int", purpose="rounds"), "rate_factor": FactSpec(type="float", purpose="rate")}
RATES = {"rates": FactSpec(type="list[float]", purpose="one for each round")}
MANIFEST = Manifest(
    up={
        "train": MessageSpec(facts={**FACTS, "examples": FactSpec(type="int", purpose="count", reveals="examples")}),
        **dict.fromkeys(("evaluate", "alone", "personalize", "align"), MessageSpec(facts=FACTS)),
    },
    down={
        "train": MessageSpec(tensors={"w": TensorSpec(dtype="float32", shape=(2,))}, facts=ASKED, trains="round"),
        "alone": MessageSpec(facts=RATES, trains="rounds"),
        "personalize": MessageSpec(facts={"version": ASKED["version"]}, trains="once"),
        "align": MessageSpec(facts={"version": ASKED["version"]}, trains="once"),
        "evaluate": MessageSpec(facts={"name": FactSpec(type="str", purpose="moment", most_characters=40)}),
    },
)


@dataclass(frozen=True, kw_only=True)
class Asked(Record, kind="embed"):
    pass


@dataclass(frozen=True, kw_only=True)
class Embedded(Record, kind="embedded"):
    vectors: dict = tensors(reveals="embeddings")


class Half:
    def answer(self, message):
        told = {"validation.loss": 1.0, "test.loss": 2.0}
        if message.kind == "train":
            told = {"validation_after": 1.0, "examples": 3, "first_loss": 0.5, "score": 0.9, "seconds": 0.1}
        return Message(kind=message.kind, facts=told)


def guarded(**settings):
    examples = {"validation": 20, "test": 10, "step": 4}
    policy = Policy(**settings.pop("policy", {"min_examples": 1}))
    return Guarded(half=Half(), gate=make_gate(MANIFEST), policy=policy, **{"rounds": 2, "examples": examples, **settings})


def train(version=0):
    return encode(Message(kind="train", tensors={"w": torch.ones(2)}, facts={"version": version, "rate_factor": 1.0}))


def facts(reply):
    return dict(decode(reply).facts)


def test_figures_that_are_not_reported_are_left_out_and_all_else_passes():
    evaluate = encode(Message(kind="evaluate", facts={"name": "round-3"}))
    assert facts(guarded().answer(evaluate)) == {"validation.loss": 1.0, "test.loss": 2.0}
    quiet = guarded(policy={"reports": ["examples"], "min_examples": 1})
    assert facts(quiet.answer(evaluate)) == {}
    assert facts(quiet.answer(train())) == {"examples": 3, "seconds": 0.1}


def test_figures_over_too_few_examples_stay_at_the_site():
    usual = guarded(policy={})  # at least 16: the validation part alone has so many
    assert facts(usual.answer(encode(Message(kind="evaluate", facts={"name": "before"})))) == {"validation.loss": 1.0}
    assert facts(usual.answer(train())) == {"validation_after": 1.0, "examples": 3, "score": 0.9, "seconds": 0.1}


def test_a_fact_that_a_job_needs_and_the_owner_does_not_report_does_not_leave():
    with pytest.raises(RunError, match="'examples', which reveals examples"):
        guarded(policy={"reports": ["figures"]}).answer(train())


def test_no_more_rounds_are_trained_than_the_job_has():
    half = guarded()
    half.answer(train(1))
    with pytest.raises(RunError, match="round 2 was asked for, and the job has 2"):
        half.answer(train(2))


def test_a_round_is_not_trained_again_and_again():
    half = guarded()
    for _ in range(4):  # each of two rounds may be tried twice
        half.answer(train())
    with pytest.raises(RunError, match="asked for 5 rounds"):
        half.answer(train())


@pytest.mark.parametrize("kind", ["personalize", "align"])
def test_what_trains_once_after_the_rounds_is_not_asked_for_again_and_again(kind):
    half, request = guarded(), encode(Message(kind=kind, facts={"version": 2}))
    half.answer(request)
    half.answer(request)  # tried again
    with pytest.raises(RunError, match=f"'{kind}' asked for 3 rounds of training; the job has 1 of that kind"):
        half.answer(request)
    half.answer(train())  # each kind has a bound of its own


def test_training_alone_has_no_more_rounds_than_the_job():
    half = guarded()
    for _ in range(2):
        half.answer(encode(Message(kind="alone", facts={"rates": [1.0, 0.5]})))
    for rates in ([1.0], [1.0] * 1000):
        with pytest.raises(RunError, match="of training; the job has 2"):
            half.answer(encode(Message(kind="alone", facts={"rates": rates})))
    with pytest.raises(RunError, match="asked for 3 rounds"):
        guarded().answer(encode(Message(kind="alone", facts={"rates": [1.0] * 3})))


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a.b"])
def test_a_moments_name_is_no_path(name):
    with pytest.raises(OffManifest):
        guarded().answer(encode(Message(kind="evaluate", facts={"name": name})))


def test_another_shape_than_the_sites_own_manifest_has_is_refused():
    message = Message(kind="train", tensors={"w": torch.ones(3)}, facts={"version": 0, "rate_factor": 1.0})
    with pytest.raises(OffManifest):
        guarded().answer(encode(message))


LABELS = TensorSpec(dtype="int32", shape=(2,), reveals="labels")
SCORES = TensorSpec(dtype="uint8", shape=(2,), reveals="public-fit", optional=True)
DELTA = TensorSpec(dtype="float32", shape=(2,), reveals="update")
OF_TENSORS = {"delta": DELTA, "rows/scores": SCORES}


def with_tensors(specs, **policy):
    """Return the gate of a site that answers with these tensors."""

    class Says:
        def answer(self, message):
            made = {name: torch.ones(2, dtype=getattr(torch, spec.dtype)) for name, spec in specs.items()}
            return Message(kind="train", tensors=made)

    manifest = replace(MANIFEST, up={"train": MessageSpec(tensors=specs)})
    return Guarded(half=Says(), gate=make_gate(manifest), policy=Policy(**policy), rounds=2)


def test_tensors_that_are_not_reported_are_left_out_as_facts_are_and_updates_pass():
    quiet = with_tensors(OF_TENSORS, reports=["examples"])
    assert set(decode(quiet.answer(train())).tensors) == {"delta"}
    assert set(decode(with_tensors(OF_TENSORS).answer(train())).tensors) == set(OF_TENSORS)


def test_a_tensor_that_a_job_needs_and_the_owner_does_not_report_does_not_leave():
    with pytest.raises(RunError, match=r"needs 'classes', which reveals labels: .* by adding labels to policy\.reports"):
        with_tensors({**OF_TENSORS, "classes": LABELS}).answer(train())
    open_to_it = with_tensors({**OF_TENSORS, "classes": LABELS}, reports=["labels"])
    assert set(decode(open_to_it.answer(train())).tensors) == {"delta", "classes"}


def test_a_payload_is_held_back_by_what_is_in_it():
    call = Call(question=Asked, answers=(Embedded,), forms={"vectors": {"vectors": DELTA}}, trains="round")
    coded = TensorSpec(dtype="uint8", shape=(9,), coded={"vectors": Coded(spec=DELTA, size_bytes=8)})
    for forms in ({"vectors": DELTA}, {"payload": coded}):
        manifest = manifest_of([replace(call, forms={"vectors": forms})])
        kept = Guarded(half=Half(), gate=make_gate(manifest), policy=Policy(), rounds=1).kept["embedded"]
        assert set(kept) == {"vectors", *forms}


@pytest.fixture
def opened(make_job, tiny_backbone_folder, tmp_path):
    """Return a way to open a job at a site, as its model's process does it; the server has put other sections in."""

    def open_there(policy, **sections):
        file = SiteFile(data=("nowhere.jsonl",), backbones={"tiny-llama": str(tiny_backbone_folder)}, policy=policy)
        told = json.loads(json.dumps(job_to_send(make_job(protocol={"kind": "distillation", "public": "p.jsonl"}))))
        with fedtailors_classes_alone():
            site_parts("site-1", tmp_path, file, {"run": "a", "job": told | sections, "sites": ["site-1"]}, print)

    return open_there


def test_what_a_server_leaves_out_of_a_job_is_held_against_the_policy_too(opened):
    quiet = Policy(reports=("examples", "figures"))
    left_out = {"kind": "distillation", "public": "sent"}  # public_fit is true where nothing is said of it
    with pytest.raises(Refused, match="needs reports of public-fit"):
        opened(quiet, protocol=left_out)


def test_what_the_owner_has_not_mapped_is_not_even_read(tmp_path, make_job):
    rows = [{"notes": f"n {n}", "target": f"t {n}", "ssn": str(n), "town": "Ulm"} for n in range(8)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = SiteFile(data=(str(tmp_path / "own.jsonl"),), columns={"input": "notes", "city": "town"}, validation_share=0.3)
    told = {"validation_file": False, "sites": ["site-1", "site-2"], "test": [], "public": []}
    divided = _divided("site-1", file, make_job(), told)
    owned = [example for part in (divided.train, divided.validation, divided.test) for example in part.get("site-1", [])]
    assert len(owned) == 8
    assert {tuple(sorted(example.fields)) for example in owned} == {("city", "input", "target")}
    assert {example.fields["city"] for example in owned} == {"Ulm"}


@pytest.mark.parametrize("section", ["personalization", "tuning", "protection"])
def test_no_module_is_imported_because_a_job_names_it(opened, tmp_path, monkeypatch, section):
    (tmp_path / "of_the_servers.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(str(tmp_path))
    name = "of_the_servers:Class"
    with pytest.raises(JobError, match="only techniques that come with fedtailor"):
        opened(Policy(), **{section: [name] if section == "protection" else name})
    assert "of_the_servers" not in sys.modules


def test_a_site_divides_its_rows_as_a_local_run_does(tmp_path):
    """Two owners with 30 rows in common: neither run looks at what the other owner has."""
    rows = [{"input": f"common {n}", "target": f"t{n}", "site": site} for site in ("north", "south") for n in range(30)]
    rows += [{"input": f"{site} {n}", "target": "t", "site": site} for site in ("north", "south") for n in range(10)]
    task = {"required": ("input", "target"), "optional": (), "base": tmp_path, "seed": 3}
    local = divide(Data(), Clients(partition=Natural(by="site"), min_examples=4), given=rows, **task)
    for site in ("north", "south"):
        own = [row for row in rows if row["site"] == site]
        there = divide(Data(), Clients(partition=OneOwner(client=site), min_examples=1), given=own, **task)
        for part in ("train", "validation", "test"):
            assert [e.fields["input"] for e in getattr(there, part)[site]] == [
                e.fields["input"] for e in getattr(local, part)[site]
            ]
