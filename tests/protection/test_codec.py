"""Codes of updates: what comes back, what a client keeps, what is counted, and what damaged payloads do."""

import math
import resource
from dataclasses import replace

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import assert_same_adapter, tiny_rows
from safetensors.torch import load_file

from fedtailor.assembly import assemble, estimate
from fedtailor.errors import ClientError, OffManifest, SettingError
from fedtailor.interfaces import Crossing
from fedtailor.learning.store import Store
from fedtailor.messages import MessageSpec, TensorSpec
from fedtailor.protection import Codec
from fedtailor.protection.codec import PAYLOAD
from fedtailor.protection.payload import Payload
from fedtailor.records import Message
from fedtailor.report import read_run
from fedtailor.running import run

CODES = ("bfloat16", "int8", "int4", "ternary", "sign", "top-k")
OFF = {"bfloat16": 2**-8, "int8": 0.006, "int4": 0.3}  # of the largest value of a group, at most
LENGTHS = {"bfloat16": 512, "int8": 258, "int4": 136, "sign": 34}  # of a row of 256


def specs_of(**shapes):
    return {name: TensorSpec(dtype="float32", shape=tuple(shape), optional=name == "o") for name, shape in shapes.items()}


def random_update(seed=0, **shapes):
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn(tuple(shape), generator=draw) for name, shape in shapes.items()}


@pytest.mark.parametrize("code", CODES)
def test_what_comes_back_is_close_and_what_the_writer_expects(code):
    shapes = {"a": (7, 50), "b": (300,), "c": (1,)}
    update, payload = random_update(**shapes), Payload(code=code, share=0.1)
    written, made = payload.write(update, specs_of(**shapes), seed=3)
    read = payload.read(written, specs_of(**shapes))
    for name, value in update.items():
        assert torch.equal(read[name], made[name])
        if code in OFF:
            assert (read[name] - value).abs().max() <= OFF[code] * value.abs().max()
        elif code != "top-k":
            cosine = torch.nn.functional.cosine_similarity(read[name].reshape(1, -1), value.reshape(1, -1))
            assert float(cosine) > 0.75


def test_signs_and_their_mean_length_by_hand():
    update = {"a": torch.tensor([1.0, -2.0, 3.0, -4.0] * 64)}
    written, made = Payload(code="sign").write(update, specs_of(a=(256,)), seed=0)
    assert made["a"].tolist() == [2.5, -2.5, 2.5, -2.5] * 64
    assert len(written) == 1 + 34  # a bit for the one tensor, 256 bits, and a scale of two bytes


def test_ternary_keeps_what_is_longer_than_seven_tenths_of_the_mean():
    update = {"a": torch.tensor([1.0, -4.0, 3.0, 0.0] * 80)}  # mean length 2: below 1.4 counts as 0, the rest is 3.5 long
    written, made = Payload(code="ternary").write(update, specs_of(a=(320,)), seed=0)
    assert made["a"].tolist() == [0.0, -3.5, 3.5, 0.0] * 80
    assert len(written) == 1 + 64 + 2


def test_top_k_chooses_among_all_values_at_once():
    update = {"a": torch.full((100,), 0.01), "b": torch.arange(1.0, 101.0)}
    written, made = Payload(code="top-k", share=0.05).write(update, specs_of(a=(100,), b=(100,)), seed=0)
    assert not made["a"].any()
    assert made["b"].nonzero().flatten().tolist() == list(range(90, 100))
    assert torch.allclose(made["b"][90:], update["b"][90:], rtol=0.01)
    # 1 bit each, then counts, places, scale, values; b's values stand two or three times in its row of 255
    assert len(written) == 1 + 3 + (3 + 2 * (10 + 10 + 0))


@pytest.mark.parametrize("code", LENGTHS)
def test_lengths_are_as_computed(code):
    update, specs = random_update(a=(512,), o=(3,)), specs_of(a=(512,), o=(3,))
    payload = Payload(code=code)
    assert len(payload.write(update, specs, seed=0)[0]) == 1 + 3 * LENGTHS[code]
    assert [payload.size_bytes(spec) for spec in specs.values()] == [2 * LENGTHS[code], LENGTHS[code]]
    only = payload.write({"a": update["a"]}, specs, seed=0)[0]
    assert list(payload.read(only, specs)) == ["a"]
    with pytest.raises(OffManifest, match="lacks the tensor 'a'"):
        payload.read(payload.write({"o": update["o"]}, specs, seed=0)[0], specs)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("value", [0.0, 1e-40, 1e-30, 5e5])
def test_zeros_subnormal_and_large_values(code, value):
    update, specs = {"a": torch.full((3, 100), value), "c": torch.zeros(1)}, specs_of(a=(3, 100), c=(1,))
    written, _ = Payload(code=code, share=0.5).write(update, specs, seed=0)
    read = Payload(code=code, share=0.5).read(written, specs)["a"]
    assert torch.isfinite(read).all()
    assert (read - value).abs().max() <= max(0.3 * value, 1e-38) or code in ("int4", "top-k")


def damaged(data, changes):
    """Return bytes with some of them changed, left out or added."""
    data = bytearray(data)
    for what, place, byte in changes:
        if what == "change" and data:
            data[place % len(data)] = byte
        elif what == "cut":
            del data[place % (len(data) + 1) :]
        else:
            data.insert(place % (len(data) + 1), byte)
    return torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)


CHANGES = st.lists(
    st.tuples(st.sampled_from(["change", "cut", "insert"]), st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=6
)


def check_damaged(code, changes):
    shapes = {"a": (5, 60), "b": (3,), "o": (20,)}
    payload, specs = Payload(code=code, share=0.1), specs_of(**shapes)
    written, _ = payload.write(random_update(**shapes), specs, seed=0)
    try:
        read = payload.read(damaged(written.numpy().tobytes(), changes), specs)
    except ClientError:
        return
    assert {name: tuple(value.shape) for name, value in read.items()}.items() <= shapes.items()


@settings(max_examples=60, deadline=None)
@given(code=st.sampled_from(CODES), changes=CHANGES)
def test_damaged_payloads_are_refused_or_read_as_other_values(code, changes):
    check_damaged(code, changes)


@pytest.mark.large
def test_thousands_of_damaged_payloads_in_bounded_memory():
    @settings(max_examples=12_000, deadline=None)
    @given(code=st.sampled_from(CODES), changes=CHANGES)
    def check(code, changes):
        check_damaged(code, changes)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    check()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB, hypothesis' own notes among them


def test_whoever_sends_a_damaged_payload_is_dropped_by_name(make_job, rows, tmp_path, monkeypatch):
    leave = Codec.leave

    def damages(self, message, crossing):
        sent = leave(self, message, crossing)
        if PAYLOAD in sent.tensors and crossing.client == "client-01":
            return replace(sent, tensors={PAYLOAD: sent.tensors[PAYLOAD].flip(0)[:-1]})
        return sent

    monkeypatch.setattr(Codec, "leave", damages)
    run(make_job(stop__rounds=1, protection=[{"kind": "codec", "code": "int8"}]), data=rows, out=tmp_path / "r")
    clients = pd.read_parquet(tmp_path / "r" / "clients.parquet")
    assert clients.loc[clients["error"].notna(), "client"].tolist() == ["client-01"]
    (event,) = read_run(tmp_path / "r").events("failure")
    assert event["client"] == "client-01"


@pytest.mark.parametrize("code", CODES)
def test_every_code_runs_and_what_was_foreseen_is_what_is_sent(make_job, rows, tmp_path, code):
    job = make_job(stop__rounds=1, protection=[{"kind": "codec", "code": code}])
    parts = assemble(job, given=rows)
    result = run(job, data=rows, out=tmp_path / "r")
    clients = pd.read_parquet(tmp_path / "r" / "clients.parquet")
    foreseen = estimate(parts)
    for client, sent in zip(clients["client"], clients["up_bytes"], strict=True):
        assert foreseen[client].up_bytes == pytest.approx(sent, abs=120 if code != "top-k" else 300)
    assert math.isfinite(result.summary["metrics"]["after"]["loss"])


def crossing_of(specs, state, version):
    tensors = {name: replace(spec, reveals="update") for name, spec in specs.items()}
    asked = Message(kind="train", facts={"version": version})
    return Crossing(client="north", spec=MessageSpec(tensors=tensors), asked=asked, kept=state)


@pytest.mark.parametrize("code", ["sign", "ternary", "top-k"])
def test_what_was_lost_is_sent_the_next_time(code):
    """What was read in three rounds and what is left are all that was to be sent; a round that is tried again sends the same."""
    codec, specs, state = (
        Codec(code=code, feedback=True),
        specs_of(a=(3, 90)),
        Store(id="north"),
    )
    total, read = torch.zeros(3, 90), torch.zeros(3, 90)
    for version in range(3):
        update = random_update(seed=version, a=(3, 90))
        crossing = crossing_of(specs, state, version)
        sent = codec.leave(Message(kind="train", tensors=update), crossing)
        again = codec.leave(Message(kind="train", tensors=update), crossing)
        assert torch.equal(sent.tensors[PAYLOAD], again.tensors[PAYLOAD])
        total += update["a"]
        read += codec.arrive(sent, replace(crossing, kept=None)).tensors["a"]
    torch.testing.assert_close(read + state.recall(3, "codec")["a"], total, rtol=1e-5, atol=1e-5)
    assert (read - total).abs().max() > 0.1


def test_what_a_code_keeps_stands_beside_what_the_protocol_keeps(make_job, rows, tmp_path):
    job = make_job(stop__rounds=1, protection=[{"kind": "codec", "code": "sign"}], protocol__local__keep_optimizer=True)
    run(job, data=rows, out=tmp_path / "r")
    for folder in (tmp_path / "r" / "clients").iterdir():
        names = list(load_file(max(folder.glob("state-*.safetensors"))))
        assert {name.startswith("codec//") for name in names} == {True, False}


@pytest.mark.few(1)
@pytest.mark.parametrize("code", ["sign", "int4"])
def test_an_interrupted_run_comes_to_the_same_bits(make_job, rows, tmp_path, code):
    def job(rounds):
        return make_job(
            stop__rounds=rounds,
            protection=[{"kind": "codec", "code": code}],
            protocol__local__keep_optimizer=True,
            clients__fraction=0.5,
        )

    run(job(3), data=rows, out=tmp_path / "whole")
    run(job(1), data=rows, out=tmp_path / "parts")
    run(job(3), data=rows, resume=tmp_path / "parts")
    assert_same_adapter(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize(
    ("changes", "code", "feedback"),
    [
        ({}, "sign", True),
        ({"protocol__local__optimizer": "sgd"}, "top-k", True),
        ({"clients__fraction": 0.2}, "int4", False),
        ({"protocol__aggregation": "fedsvd"}, "int4", False),
    ],
)
def test_auto_is_what_fits_the_optimizer_and_the_rule(make_job, changes, code, feedback):
    (codec,) = make_job(protection=["codec"], **changes).decided().protection
    assert (codec.code, codec.feedback) == (code, feedback)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protection": [{"kind": "codec", "code": "sign"}, "shields:Times"]}, "must be the last"),
        ({"protocol": {"kind": "split", "cut": 1}}, "protocol: split: it is for updates"),
        (
            {"protocol__aggregation": "fedsvd", "protection": [{"kind": "codec", "code": "sign", "feedback": True}]},
            "fedsvd: it refactors",
        ),
        (
            {
                "clients": {"count": 10, "min_examples": 1, "fraction": 0.2},
                "protection": [{"kind": "codec", "code": "sign", "feedback": True}],
            },
            "a round asks 20% of them",
        ),
        (
            {"protection": [{"kind": "dp", "clip": 1.0, "noise": "shares", "force": True}, {"kind": "codec", "code": "sign"}]},
            "dp, with noise: shares",
        ),
        (
            {"protocol__aggregation": "flexlora", "clients__overrides": {"client-01": {"tuning": {"rank": 1}}}},
            "overrides of ranks",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(make_job, changes, words):
    changes = {"protection": [{"kind": "codec", "code": "int4"}], **changes}
    with pytest.raises(SettingError, match=words):
        assemble(make_job(**changes), given=tiny_rows())


def test_with_dp_the_code_comes_after_clipping(make_job, rows, tmp_path):
    both = [
        {"kind": "dp", "clip": 0.5, "noise_multiplier": 0.3, "epsilon": None, "force": True},
        {"kind": "codec", "code": "int8"},
    ]
    result = run(make_job(stop__rounds=1, protection=both), data=rows, out=tmp_path / "r")
    assert result.summary["privacy"]
    norms = pd.read_parquet(tmp_path / "r" / "clients.parquet")["update_norm"]
    assert (norms <= 0.5 * 1.01).all()


def test_rolora_sends_a_factor_in_turn(make_job, rows, tmp_path):
    job = make_job(stop__rounds=2, protection=[{"kind": "codec", "code": "ternary"}], protocol__aggregation="rolora")
    assert run(job, data=rows, out=tmp_path / "r").history["update_norm"].gt(0).all()
