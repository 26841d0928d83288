"""Secure sums: exact in every pattern of drop-outs, and what a client refuses."""

import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import adapter, tiny_rows

from fedtailor.assembly import assemble
from fedtailor.errors import OffManifest, SettingError, TooLarge
from fedtailor.federation import LocalFederation
from fedtailor.interfaces import Crossing, Plan
from fedtailor.learning.store import Store
from fedtailor.learning.training import one_by_one
from fedtailor.messages import manifest_of, read, write
from fedtailor.protection import SecureAggregation, make_gate
from fedtailor.protection.secure import shamir
from fedtailor.protection.secure.identity import simulated
from fedtailor.protection.secure.masks import KeyPair, mask, seal, unseal
from fedtailor.protection.secure.member import Member
from fedtailor.protection.secure.messages import AskAgree, AskKeys, AskShares, Deliver, Unmask
from fedtailor.protection.secure.words import FixedPoint
from fedtailor.protocols.averaging.messages import Train, Trained, training_call
from fedtailor.records import ClientInfo
from fedtailor.running import run

SHARED = {"a": torch.zeros(3, 4), "b": torch.zeros(5)}
CLIENTS = [f"c{k}" for k in range(5)]


def trained(delta, examples=1):
    return write(
        Trained(
            version=0, examples=examples, targets=1, tokens=1, steps=1, first_loss=1.0, last_loss=1.0, seconds=1.0, delta=delta
        )
    )


def deltas(seed=0):
    draw = torch.Generator().manual_seed(seed)
    return {client: {name: torch.randn(value.shape, generator=draw) for name, value in SHARED.items()} for client in CLIENTS}


class Half:
    """Answers with an update, unless it is to fail."""

    def __init__(self, delta, examples, fails):
        self.delta, self.examples, self.fails = delta, examples, fails

    def answer(self, message):
        if self.fails:
            raise RuntimeError("gone")
        return trained(self.delta, self.examples)


class GoneBeforeUnmask:
    def __init__(self, inner, gone):
        self.inner, self.gone = inner, gone

    def answer(self, message):
        if self.gone and message.kind == "secure-unmask":
            raise RuntimeError("gone")
        return self.inner.answer(message)


def summed(pattern, *, secure, updates, examples=None, seen=None):
    """Return the replies of one round: of each client, whether it is there, fails while it trains, or after its update was sent."""
    states = {client: Store(id=client) for client in CLIENTS}
    call = training_call(SHARED, dtype="float32", sent=[list(SHARED)], control=False, clients=False)
    gate = make_gate(manifest_of([secure.shape(call), *secure.calls()]), [secure], kept=states)
    numbers = examples or dict.fromkeys(CLIENTS, 1)
    halves = {
        client: GoneBeforeUnmask(
            secure.at_client(Half(updates[client], numbers[client], what == "train"), client, states[client]), what == "unmask"
        )
        for client, what in zip(CLIENTS, pattern, strict=True)
    }
    infos = [ClientInfo(id=client, examples=numbers[client]) for client in CLIENTS]
    local = LocalFederation(halves, infos, gate, lambda client, fault: None if seen is None else seen.append((client, fault)))
    request = write(Train(version=0, rate_factor=1.0, shared=SHARED))
    return list(secure.around(local).ask(dict.fromkeys(CLIENTS, request)))


@pytest.mark.parametrize(("consistency", "threshold", "of_all"), [(False, 3, 51), (True, 4, 11)])
def test_all_patterns_of_dropping_out(consistency, threshold, of_all):
    secure = SecureAggregation(threshold=threshold, weights="uniform", consistency=consistency)
    updates, exact = deltas(), 0
    step = FixedPoint(most=16.0, clients=5)
    for pattern in itertools.product(("there", "train", "unmask"), repeat=5):
        replies = {reply.client: reply for reply in summed(pattern, secure=secure, updates=updates)}
        answered = [client for client, what in zip(CLIENTS, pattern, strict=True) if what != "train"]
        if pattern.count("there") < threshold:
            assert all(reply.message is None for reply in replies.values())
            continue
        exact += 1
        plain = sum(step.encode(updates[client], 1.0).astype(np.int64) for client in answered).astype(np.uint32)
        want = step.decode(plain, {name: value.shape for name, value in SHARED.items()}, len(answered))
        assert [client for client, reply in replies.items() if reply.message is not None] == answered
        for client in answered:
            found = read(replies[client].message, Trained).delta
            assert all(torch.equal(found[name], want[name]) for name in want)
            mean = {name: sum(updates[c][name] for c in answered) / len(answered) for name in want}
            assert all(torch.allclose(found[name], mean[name], atol=1e-6) for name in want)
    assert exact == of_all  # and the others of 243 are refused


def test_clients_count_by_their_examples():
    updates, examples = deltas(), dict(zip(CLIENTS, (10, 1, 4, 7, 2), strict=True))
    replies = summed(
        ["there", "train", *["there"] * 3], secure=SecureAggregation(weights="examples"), updates=updates, examples=examples
    )
    total = sum(examples[client] for client in CLIENTS if client != "c1")
    want = sum(examples[client] / total * updates[client]["a"] for client in CLIENTS if client != "c1")
    found = [read(reply.message, Trained) for reply in replies if reply.message is not None]
    assert len(found) == 4
    assert torch.allclose(found[0].delta["a"], want, atol=1e-6)
    assert [each.examples for each in found] == [10, 4, 7, 2]


def test_the_traffic_of_all_exchanges_is_counted():
    replies = summed(["there"] * 5, secure=SecureAggregation(weights="uniform"), updates=deltas())
    assert all(
        reply.traffic.up_bytes > 5 * 300 + 4 * 17 for reply in replies
    )  # a sealed share of 296 digits for each other client, and the words


def test_what_is_too_large_is_dropped_before_it_could_run_over():
    updates, faults = deltas(), []
    updates["c2"]["a"][0, 0] = 16.5
    replies = summed(["there"] * 5, secure=SecureAggregation(weights="uniform"), updates=updates, seen=faults)
    assert [reply.client for reply in replies if reply.message is None] == ["c2"]
    ((client, fault),) = faults
    assert client == "c2"
    assert isinstance(fault, TooLarge)
    for clients in (3, 10, 1000):
        code = FixedPoint(most=16.0, clients=clients)
        assert clients * (2 * code.most / code.step + 1) <= 2**32
        top = code.encode({"a": torch.full((1,), 16.0)}, 1.0)
        total = np.zeros(1, dtype=np.uint32)
        for _ in range(clients):
            total = total + top
        assert code.decode(total, {"a": (1,)}, clients)["a"].item() == pytest.approx(16.0)


def test_masked_words_look_like_noise_and_two_rounds_share_none():
    secure, seen = SecureAggregation(weights="uniform"), []
    for _ in range(2):
        state = Store(id="c0")
        members = members_of(CLIENTS)
        shared_secrets(members, threshold=3)
        state.brief["secure"] = members[0]
        big = {"a": torch.zeros(40_000)}
        call = secure.shape(training_call(big, dtype="float32", sent=[["a"]], control=False, clients=False))
        spec = manifest_of([call]).up["train"].plain()
        sent = secure.leave(trained(big), Crossing(client="c0", spec=spec, kept=state))
        seen.append(sent.tensors["secure/payload"].numpy()[1:])
    for data in seen:
        counts = np.bincount(data, minlength=256)
        chi2 = ((counts - len(data) / 256) ** 2 / (len(data) / 256)).sum()
        assert chi2 < 400  # 255 degrees of freedom: 1e-8 lie beyond
    assert not (seen[0].view("<u4") == seen[1].view("<u4")).sum() > 3


def opening(answered, dropped, signers=(), signatures=()):
    return Unmask(answered=answered, dropped=dropped, signers=list(signers), signatures=list(signatures))


def shared_secrets(members, *, threshold):
    """Bring members to the point at which they mask."""
    names = [member.me for member in members]
    keys = {member.me: member.keys(AskKeys(version=0)) for member in members}
    asked = asked_for(names, keys, threshold)
    shares = {member.me: member.share(asked) for member in members}
    for place, member in enumerate(members):
        member.deliver(Deliver(senders=names, sealed=[shares[name].sealed[place] for name in names]))
    return asked, shares


def asked_for(names, keys, threshold):
    return AskShares(
        threshold=threshold,
        most_examples=1,
        clients=names,
        sealing_keys=[keys[name].sealing_key for name in names],
        masking_keys=[keys[name].masking_key for name in names],
        signatures=[keys[name].signature for name in names],
        proofs=[keys[name].proof for name in names],
    )


def members_of(clients, *, consistency=False):
    return [Member(me=client, version=0, identity=simulated(client), consistency=consistency) for client in clients]


def fresh(count=5, *, consistency=False):
    members = members_of(CLIENTS[:count], consistency=consistency)
    return members, {member.me: member.keys(AskKeys(version=0)) for member in members}


@pytest.mark.parametrize(
    ("threshold", "count", "consistency"),
    [(2, 5, False), (6, 5, False), (1, 2, False), (2, 2, False), (3, 5, True), (2, 3, True)],
)
def test_a_client_shares_its_secrets_with_no_threshold_that_two_groups_could_reach(threshold, count, consistency):
    members, keys = fresh(count, consistency=consistency)
    with pytest.raises(OffManifest):
        members[0].share(asked_for(CLIENTS[:count], keys, threshold))


def test_a_client_refuses_strange_lists_of_keys():
    members, keys = fresh()
    asked = asked_for(CLIENTS, keys, 3)
    for changed in (
        replace(asked, sealing_keys=[asked.sealing_keys[1], *asked.sealing_keys[1:]]),  # not its own, and one twice
        replace(asked, masking_keys=[KeyPair.fresh().public.hex(), *asked.masking_keys[1:]]),
        replace(asked, clients=[*CLIENTS[:4], CLIENTS[0]]),
        replace(asked, masking_keys=asked.masking_keys[:4]),
        replace(asked, sealing_keys=[*asked.sealing_keys[:4], "xyz"]),
        replace(asked, sealing_keys=[*asked.sealing_keys[:4], "00" * 32]),  # of small order: agrees on zero with everybody
    ):
        with pytest.raises(OffManifest):
            members[0].share(changed)


@pytest.mark.parametrize(
    ("answered", "dropped"),
    [
        (CLIENTS, ["c1"]),  # c1 in both
        (CLIENTS[:4], []),  # c4 in neither
        (CLIENTS[1:], ["c0"]),  # itself
        (CLIENTS[:2], CLIENTS[2:]),  # too few
        ([*CLIENTS[:4], "c9"], ["c4"]),
        ([*CLIENTS, "c4"], []),
    ],
)
def test_a_client_never_opens_both_secrets_of_one(answered, dropped):
    members = members_of(CLIENTS)
    shared_secrets(members, threshold=3)
    members[0].mask(np.zeros(4, dtype=np.uint32))
    with pytest.raises(OffManifest):
        members[0].unmask(opening(answered, dropped))
    members[0].unmask(opening(CLIENTS, []))
    with pytest.raises(OffManifest, match="once"):
        members[0].unmask(opening(CLIENTS[:4], ["c4"]))
    with pytest.raises(OffManifest, match="once"):
        members[0].mask(np.zeros(4, dtype=np.uint32))


def test_shares_of_another_round_or_client_do_not_open():
    members = members_of(CLIENTS)
    names, keys = CLIENTS, {member.me: member.keys(AskKeys(version=0)) for member in members}
    shares = {member.me: member.share(asked_for(names, keys, 3)) for member in members}
    for_c1 = [shares[name].sealed[1] for name in names]
    with pytest.raises(OffManifest, match="seal"):
        members[0].deliver(Deliver(senders=names, sealed=for_c1))
    key = bytes(range(32))
    with pytest.raises(OffManifest):
        unseal(key, seal(key, b"text", "0|a|b"), "1|a|b")


def test_any_threshold_of_shares_gives_the_secret_and_fewer_nothing():
    secret = bytes(range(32))
    shares = dict(enumerate(shamir.split(secret, threshold=3, count=5), 1))
    for chosen in itertools.combinations(shares, 3):
        assert shamir.combine({x: shares[x] for x in chosen}) == secret
    with pytest.raises(ValueError, match="no secret"):
        shamir.combine({x: shares[x] for x in (1, 2)})


def test_two_agree_on_a_mask():
    one, other = KeyPair.fresh(), KeyPair.fresh()
    assert np.array_equal(mask(one.agreed(other.public, "mask"), 9), mask(other.agreed(one.public, "mask"), 9))
    assert not np.array_equal(mask(one.agreed(other.public, "mask"), 9), mask(one.agreed(other.public, "other"), 9))


@settings(max_examples=60, deadline=None)
@given(
    client=st.integers(0, 4),
    texts=st.lists(st.text(max_size=70) | st.binary(max_size=140).map(bytes.hex), max_size=6),
    names=st.lists(st.sampled_from([*CLIENTS, "c9", ""]), max_size=7),
    number=st.integers(-5, 2**40),
)
def test_whatever_a_server_asks_a_client_says_what_it_may_or_nothing(client, texts, names, number):
    members = members_of(CLIENTS)
    shared_secrets(members, threshold=3)
    member = members[client]
    member.mask(np.zeros(4, dtype=np.uint32))
    for asked in (
        AskShares(
            threshold=number,
            most_examples=number,
            clients=names,
            sealing_keys=texts,
            masking_keys=texts,
            signatures=texts,
            proofs=texts,
        ),
        Deliver(senders=names, sealed=texts),
        opening(names, texts),
        AskAgree(answered=names, dropped=texts),
    ):
        if isinstance(asked, Unmask | AskAgree) and sorted([*names, *texts]) == CLIENTS:
            continue  # a fair question
        with pytest.raises((OffManifest, ValueError)):
            one_by_one(member.answer(write(asked)))


def test_a_whole_run_gives_the_same_weights_up_to_rounding(make_job, rows, tmp_path):
    plain = run(make_job(stop__rounds=2), data=rows, out=tmp_path / "plain")
    secure = run(make_job(stop__rounds=2, protection=["secure-aggregation"]), data=rows, out=tmp_path / "secure")
    one, other = adapter(tmp_path / "plain"), adapter(tmp_path / "secure")
    assert all(torch.allclose(one[name], other[name], atol=2e-4) for name in one)
    assert secure.summary["metrics"]["after"]["loss"] == pytest.approx(plain.summary["metrics"]["after"]["loss"], rel=1e-3)
    clients = pd.read_parquet(tmp_path / "secure" / "clients.parquet")
    assert "cosine" not in clients.columns
    assert "bias" not in secure.history.columns
    manifest = json.loads((tmp_path / "secure" / "manifest.json").read_text())
    assert set(manifest["up"]["train"]["tensors"]) == {"secure/payload"}


def test_clients_that_fail_are_drop_outs(make_job, rows, tmp_path):
    job = make_job(
        stop__rounds=2, protection=["secure-aggregation"], clients={"count": 6, "min_examples": 4, "failure_share": 0.3}
    )
    result = run(job, data=rows, out=tmp_path / "r")
    failed = pd.read_parquet(tmp_path / "r" / "clients.parquet")
    assert failed["error"].notna().any()
    assert result.history["update_norm"].gt(0).all()


@pytest.mark.parametrize("noise", ["server", "shares"])
def test_it_goes_with_differential_privacy(make_job, rows, tmp_path, noise):
    both = [
        {"kind": "dp", "clip": 0.5, "noise_multiplier": 0.3, "epsilon": None, "force": True, "noise": noise},
        "secure-aggregation",
    ]
    result = run(make_job(stop__rounds=1, protection=both), data=rows, out=tmp_path / "r")
    assert result.summary["privacy"]
    assert result.history["update_norm"].gt(0).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protocol__aggregation": "krum"}, "secure-aggregation does not go with protocol.aggregation: krum"),
        ({"protocol__aggregation": "flexlora"}, "secure-aggregation does not go with protocol.aggregation: flexlora"),
        ({"protocol": {"kind": "split", "cut": 1}}, "secure-aggregation does not go with protocol: split"),
        ({"clients__fraction": 0.5}, "takes 3 to 1,000 clients in a round, and a round asks 2"),
        ({"protocol__weights": "targets"}, "protocol.weights: targets"),
        ({"clients__most_weight": 0.5}, "clients.most_weight"),
        ({"protection": [{"kind": "secure-aggregation", "threshold": 2, "consistency": False}]}, "above half of the 4 clients"),
        (
            {"protection": [{"kind": "secure-aggregation", "threshold": 2}]},
            "above two thirds of the 4 .*consistency: false permits",
        ),
        ({"protection": [{"kind": "secure-aggregation", "threshold": 5}]}, "no more than they are"),
        ({"protection": ["secure-aggregation", {"kind": "codec", "code": "int8"}]}, "codec"),
        ({"protection": [{"kind": "codec", "code": "int8"}, "secure-aggregation"]}, "codec"),
        ({"protection": ["secure-aggregation", "shields:Times"]}, "must be the last"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(make_job, changes, words):
    with pytest.raises(SettingError, match=re.compile(words)):
        assemble(make_job(**{"protection": ["secure-aggregation"], **changes}), given=tiny_rows())


@pytest.mark.parametrize("bad", [{"threshold": 1}, {"most": 0.0}, {"most": -1.0}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(SettingError, match=next(iter(bad))):
        SecureAggregation(**bad)


def test_an_update_never_leaves_unmasked():
    secure = SecureAggregation(weights="uniform")
    call = secure.shape(training_call(SHARED, dtype="float32", sent=[list(SHARED)], control=False, clients=False))
    state = Store(id="c0")
    crossing = Crossing(
        client="c0", spec=manifest_of([call]).up["train"].plain(), kept=state, plan=Plan(clients=5, rate=1.0, rounds=1, values=17)
    )
    with pytest.raises(OffManifest, match="unmasked"):
        secure.leave(trained(deltas()["c0"]), crossing)


def test_words_of_sixteen_bits_take_half_the_bytes_and_their_mean_is_right():
    secure = SecureAggregation(weights="uniform", bits=16, most=4.0)
    updates = deltas()
    replies = summed(["there"] * 5, secure=secure, updates=updates)
    step = FixedPoint(most=4.0, clients=5, bits=16).step
    assert 5 * (2 * 4.0 / step + 3) <= 2**16 < 5 * (4 * 4.0 / step + 3)  # the finest power of two that fits
    mean = sum(updates[client]["a"] for client in CLIENTS) / 5
    found = read(replies[0].message, Trained).delta["a"]
    assert (found - mean).abs().max() <= step
    many = FixedPoint(most=4.0, clients=5, bits=16)
    value = {"a": torch.full((20_000,), 0.3 * step)}
    drawn = many.encode(value, 1.0, seed=1)
    assert set(drawn.tolist()) == {0, 1}
    assert drawn.mean() == pytest.approx(0.3, abs=0.01)  # rounded by chance: nearest would make it 0
    wide, narrow = (SecureAggregation(weights="uniform", bits=bits, most=4.0) for bits in (32, 16))
    sizes = [summed(["there"] * 5, secure=each, updates=updates)[0].traffic.up_bytes for each in (wide, narrow)]
    assert sizes[0] - sizes[1] == 2 * 17


def test_a_codec_before_it_is_carried_out_by_its_words(make_job):
    dp = {"kind": "dp", "clip": 0.5, "noise_multiplier": 1.0, "epsilon": None, "force": True}
    job = make_job(protection=[dp, "codec", "secure-aggregation"]).decided()
    assert (job.protection[1].code, job.protection[2].bits) == ("int16", 16)
    assert job.protection[2].most == pytest.approx(0.5, rel=1e-5)
    assert job.decided() == job
    alone = make_job(protection=["codec"]).decided()
    assert alone.protection[0].code == "sign"


@pytest.mark.parametrize(
    ("protection", "words"),
    [
        ([{"kind": "codec", "code": "sign"}, "secure-aggregation"], "secure-aggregation does not go with protection: codec"),
        ([{"kind": "codec", "code": "int16"}], "list secure-aggregation behind it"),
        (["secure-aggregation", "codec"], "does not go with|must be the last"),
    ],
)
def test_codes_that_do_not_add_up_are_refused(make_job, rows, protection, words):
    with pytest.raises(SettingError, match=words):
        assemble(make_job(protection=protection), given=rows)


def test_privacy_a_code_and_secure_sums_together_are_killed_resumed_and_end(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.protocols.averaging import server
    from fedtailor.running.resume import job_of_run

    dp = {"kind": "dp", "clip": 0.5, "epsilon": 40.0, "delta": 0.01, "force": True}
    job = make_job(protection=[dp, "codec", "secure-aggregation"], stop__rounds=3)
    take, calls = server.Collector._take, []

    def dies(self, reply):
        calls.append(reply.client)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return take(self, reply)

    monkeypatch.setattr(server.Collector, "_take", dies)
    with pytest.raises(KeyboardInterrupt):
        run(job, data=rows, out=tmp_path / "r")
    monkeypatch.setattr(server.Collector, "_take", take)
    done = run(job_of_run(tmp_path / "r"), data=rows, resume=tmp_path / "r")
    spent = done.summary["privacy"]
    assert (done.summary["stopped_by"], done.summary["rounds"]) == ("privacy budget", 2)  # the interrupted round counts twice
    assert spent["releases"] == 3
    assert spent["epsilon"] <= 40.0
    assert json.loads((tmp_path / "r" / "privacy.json").read_text())["releases"][0]["count"] == 3
    values = sum(value.numel() for value in adapter(tmp_path / "r").values())
    sent = pd.read_parquet(tmp_path / "r" / "clients.parquet")["up_bytes"]
    assert (sent < 2.01 * values + 4_000).all()  # two bytes a weight; keys, shares and facts
