"""One client never ends or steers a run: whatever it sends, it is dropped by name, and the result is that of a run in which it said nothing."""

import random

import pytest
import torch
from attacks import Attack, attacks_on
from distilling import class_data, class_job
from jobs import tiny_job, tiny_rows
from replays import BAD, Phases, same
from split_shapes import save_family, split_parts

from fedtailor.assembly import assemble
from fedtailor.messages import decode

A_FEW = 16  # of each protocol, drawn by the seed, beside what a marker runs
PROTOCOLS = ("averaging", "ranks", "distillation", "split", "split-reuse")


@pytest.fixture(scope="module")
def phases_of(tmp_path_factory, tiny_backbone_folder, tiny_bert_folder):
    """Return the recorded phases of a protocol, made when they are asked for."""
    made = {}

    def parts_of(protocol):
        if protocol in ("averaging", "ranks"):
            own = {"personalization": "finetune", "evaluation__local_only": True, "clients__count": 3}
            if protocol == "ranks":
                own = {
                    "protocol__aggregation": {"kind": "flexlora"},
                    "clients__count": 3,
                    "clients__overrides": {"client-00": {"tuning": {"rank": 1}}},
                }
            return assemble(tiny_job(tiny_backbone_folder, **own), given=tiny_rows())
        if protocol == "distillation":
            job = class_job(tiny_bert_folder, p_label_counts=True, p_wire="int8", p_top_k=2)
            return assemble(job, given=class_data())
        if protocol == "split":
            return split_parts(save_family("gpt2", tmp_path_factory.mktemp("families")), "gpt2")
        tuning = {"kind": "lora", "rank": 2, "alpha": 4, "targets": ["layers.1.self_attn.q_proj"]}  # behind the cut
        once = {"labels": "with-server", "reuse": True, "wire": "int8", "cut": 1, "changes": {"tuning": tuning}}
        return split_parts(tiny_backbone_folder, "llama", **once)

    def of(protocol):
        if protocol not in made:
            made[protocol] = Phases(parts_of(protocol))
        return made[protocol]

    return of


def all_of(phases: Phases) -> list[tuple[str, int, Attack]]:
    """Return every attack on every message of every phase; of a long conversation on the first message of each kind, and the last."""
    found = []
    for name, said in phases.said.items():
        kinds: dict[str, int] = {}
        for number, (data, asked) in enumerate(zip(said[BAD].replies, said[BAD].answered, strict=True)):
            honest = decode(data)
            if honest.kind in kinds:
                continue
            kinds[honest.kind] = number
            answers = phases.parts.manifest.answers_to(asked)
            found += [(name, number, attack) for attack in attacks_on(phases.parts.manifest, honest, answers)]
    return found


def fault_of(phases: Phases, name: str, number: int, attack: Attack, *, network: bool = False) -> str | None:
    """Return what is wrong with how the server took an attack, or None."""
    replies = phases.said[name][BAD].replies
    bad = attack.send(decode(replies[number]), replies[:number])
    where = f"{name}, message {number}: {attack.name}"
    try:
        done = phases.play(name, lambda now: bad if now == number else None, network=network)
    except Exception as fault:
        return f"{where} ended the run: {type(fault).__name__}: {str(fault)[:120]}"
    if BAD not in done.failures:
        return f"{where} was taken"
    if done.failures.keys() != {BAD} or done.failures[BAD].kind not in ("off-manifest", "not-finite"):
        return f"{where} was told as {done.failures}"
    return None if same(done.values, phases.without(name, number).values) else f"{where} changed the result"


def faults(phases: Phases, chosen: list[tuple[str, int, Attack]], **settings: bool) -> list[str]:
    return [fault for one in chosen if (fault := fault_of(phases, *one, **settings))]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_that_misbehaves_is_dropped_by_name_and_leaves_no_trace(phases_of, protocol):
    phases = phases_of(protocol)
    assert faults(phases, random.Random(0).sample(all_of(phases), A_FEW)) == []


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
