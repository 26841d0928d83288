"""One client never ends or steers a run: whatever it sends, it is dropped by name, and the result is that of a run in which it said nothing.

What a few of these attacks come to with every registered protocol is in `test_conformance`.
"""

import random
from dataclasses import replace

import pytest
import torch
from attacks import Attack, raw
from misbehaving import all_of, fault_of, faults
from prompted import METHOD, place_rows, prompting_job
from replays import BAD, Phases, same
from scripted_endpoint import endpoint

from fedtailor.assembly import assemble
from fedtailor.messages import decode
from fedtailor.prompting.endpoint import VARIABLE

A_FEW = 16  # of each protocol, drawn by the seed, beside what a marker runs
VARIANTS = (
    "ranks",
    "split-reuse",
    "reading",
    "questions",
    "pictures",
    "gan",
    "coded",
)  # of registered protocols; see `phases_of`
PROTOCOLS = ("averaging", "distillation", "split", *VARIANTS)


@pytest.mark.parametrize("protocol", VARIANTS)
def test_a_client_that_misbehaves_is_dropped_by_name_and_leaves_no_trace(phases_of, protocol):
    phases = phases_of(protocol)
    assert faults(phases, random.Random(0).sample(all_of(phases), A_FEW)) == []


def edits_of(body):
    """Answer as a language model does whose edits depend on every word of what it is given."""
    system, asked = (message["content"] for message in body["messages"])
    if "Right category" in asked:
        return "It does not say which kinds of places there are."
    return asked if "sum up" in system else f"Which kind, of {sum(map(ord, asked))}?"


def test_a_client_whose_critique_is_none_is_dropped_by_name(tiny_backbone_folder, tmp_path, monkeypatch):
    with endpoint(edits_of) as (url, _):
        (tmp_path / "mine.yaml").write_text(f"url: {url}\nmodel: small\n")
        monkeypatch.setenv(VARIABLE, str(tmp_path / "mine.yaml"))
        method = {**METHOD, "kind": "textual-gradient", "proposals": 2}
        phases = Phases(assemble(prompting_job(tiny_backbone_folder, protocol__method=method), given=place_rows()))
        of_critiques = [one for one in all_of(phases) if decode(phases.said[one[0]][BAD].replies[one[1]]).kind == "critique"]
        assert len(of_critiques) > 30
        assert faults(phases, of_critiques) == []


BEYOND = {
    "more examples than it has": lambda facts: {"scored": facts["scored"] * 1000},
    "losses beyond bounds": lambda facts: {"loss_sums": [1.1e6 * facts["scored"]] * len(facts["loss_sums"])},
}


@pytest.mark.parametrize("what", BEYOND)
def test_scores_that_cannot_be_are_dropped_by_name(phases_of, what):
    phases = phases_of("prompting")
    attack = Attack(what, lambda message, before: raw(replace(message, facts={**message.facts, **BEYOND[what](message.facts)})))
    assert fault_of(phases, "train", 0, attack) is None


@pytest.mark.attack
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_misbehaviour(phases_of, protocol):
    phases = phases_of(protocol)
    every = all_of(phases)
    assert len(every) >= 50
    assert faults(phases, every) == []


def test_the_same_over_a_network(phases_of):
    for protocol in ("averaging", "distillation", "split"):
        phases = phases_of(protocol)
        assert faults(phases, random.Random(1).sample(all_of(phases), A_FEW // 2), network=True) == []


HEAD = b'\x00\x00\x00\x1a{"facts":{},"kind":"train"}'
ENVELOPES = {
    "nothing": {},
    "a text": "text",
    "a list": [1],
    "a blob that is a text": {"blob": "text", "seconds": 0.1},
    "a number of seconds that is a text": {"blob": b"", "seconds": "soon"},
    "a time that is none": {"blob": b"", "seconds": float("nan")},
    "a head alone": {"head": HEAD},
    "tensors that are a list": {"head": HEAD, "tensors": [torch.ones(1)]},
    "tensors that are numbers": {"head": HEAD, "tensors": {"w": 1}},
    "names that are numbers": {"head": HEAD, "tensors": {1: torch.ones(1)}},
    "a tensor without values": {"head": HEAD, "tensors": {"w": torch.ones(2**20, device="meta")}},
    "a sparse tensor": {"head": HEAD, "tensors": {"w": torch.ones(2).to_sparse()}},
    "complex numbers": {"head": HEAD, "tensors": {"w": torch.ones(2, dtype=torch.complex64)}},
    "a head without end": {"head": b"\xff\xff\xff\xff", "tensors": {}},
    "a head of 20 MB": {"head": (2 * 10**7).to_bytes(4, "big") + b"[" * (2 * 10**7), "tensors": {}},
    "a blob and a head": {"blob": b"", "head": HEAD, "tensors": {}},
    "a failure that is a number": {"failure": 5},
    "a failure without words": {"failure": []},
    "a failure of many words": {"failure": ["a", "b", "c"]},
    "a failure in colours": {"failure": ["\x1b[31m" * 1000, "\x1b[2J"]},
}


@pytest.mark.parametrize("envelope", ENVELOPES, ids=str)
def test_an_envelope_of_another_form_is_named_and_leaves_no_trace(phases_of, envelope):
    phases = phases_of("averaging")
    done = phases.play("train", lambda now: ENVELOPES[envelope], network=True)
    assert done.failures.keys() == {BAD}
    assert done.failures[BAD].kind in ("off-manifest", "failed", "lost")
    assert done.failures[BAD].mark.isidentifier()
    assert same(done.values, phases.without("train", 0).values)


@pytest.mark.attack
def test_every_misbehaviour_over_a_network(phases_of):
    for protocol in ("averaging", "distillation", "split"):
        phases = phases_of(protocol)
        assert faults(phases, all_of(phases), network=True) == []
