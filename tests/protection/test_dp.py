"""Differential privacy for clients in whole runs."""

import json

import pandas as pd
import pytest
import torch
from foreseen import foresee
from jobs import adapter, assert_same_adapter

from fedtailor.assembly import assemble
from fedtailor.errors import RunError, SettingError
from fedtailor.interfaces import Plan
from fedtailor.messages import decode
from fedtailor.privacy.accountant import Release, epsilon_of
from fedtailor.protection import Dp, gate, make_gate
from fedtailor.running import run
from fedtailor.running.resume import job_of_run
from fedtailor.tensors import norm

DP = {"kind": "dp", "noise_multiplier": 2.0, "epsilon": None, "clip": 0.5, "force": True}


def spent(folder):
    return json.loads((folder / "privacy.json").read_text())["releases"]


def test_a_resumed_run_equals_an_unbroken_one_with_what_it_spent(make_job, rows, tmp_path, monkeypatch):
    own = {"protection": [DP], "clients__fraction": 0.5}
    foresee(monkeypatch)
    whole = run(make_job(stop__rounds=3, **own), data=rows, out=tmp_path / "whole")
    foresee(monkeypatch)
    run(make_job(stop__rounds=2, **own), data=rows, out=tmp_path / "cut")
    resumed = run(make_job(stop__rounds=3, **own), data=rows, resume=tmp_path / "cut")
    assert_same_adapter(tmp_path / "whole", tmp_path / "cut")
    assert spent(tmp_path / "cut") == spent(tmp_path / "whole") == [{"noise_multiplier": 2.0, "rate": 0.5, "count": 3}]
    assert resumed.summary["privacy"] == whole.summary["privacy"]
    assert resumed.history["epsilon"].tolist() == whole.history["epsilon"].tolist()
    assert whole.history["epsilon"].iloc[-1] == epsilon_of([Release(noise_multiplier=2.0, rate=0.5, count=3)], 1e-5)
    assert whole.history["epsilon"].is_monotonic_increasing


def test_a_round_that_is_done_again_counts_twice(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.protocols.averaging import server

    begin = server._attempt
    calls = []

    def killed(*args, **kwargs):
        tried = begin(*args, **kwargs)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return tried

    monkeypatch.setattr(server, "_attempt", killed)
    with pytest.raises(KeyboardInterrupt):
        run(make_job(protection=[DP]), data=rows, out=tmp_path / "r")
    run(job_of_run(tmp_path / "r"), data=rows, resume=tmp_path / "r")
    assert spent(tmp_path / "r") == [{"noise_multiplier": 2.0, "rate": 1.0, "count": 4}]  # three rounds, one of them twice


def test_a_run_ends_where_its_budget_is_spent(make_job, rows, tmp_path):
    two = epsilon_of([Release(noise_multiplier=2.0, rate=1.0, count=2)], 1e-5)
    done = run(make_job(protection=[{**DP, "epsilon": two * 1.01}]), data=rows, out=tmp_path / "r")
    assert (done.summary["rounds"], done.summary["stopped_by"]) == (2, "privacy budget")
    assert done.summary["privacy"]["epsilon"] <= two * 1.01


def test_noise_is_not_drawn_from_the_seed_of_the_job(make_job, rows, tmp_path):
    for name in ("a", "b"):
        run(make_job(stop__rounds=1, protection=[DP]), data=rows, out=tmp_path / name)
    one, two = adapter(tmp_path / "a"), adapter(tmp_path / "b")
    assert all((one[name] != two[name]).any() for name in one)


def test_every_update_leaves_clipped_and_nobody_weighs_more(make_job, rows, tmp_path, monkeypatch):
    sent = []
    leave = gate.Gate.leave_client

    def recorded(self, message, asked=None):
        data = leave(self, message, asked)
        sent.append((message, decode(data)))
        return data

    monkeypatch.setattr(gate.Gate, "leave_client", recorded)
    tight = {**DP, "clip": 0.01, "noise_multiplier": 0.1}
    done = run(make_job(stop__rounds=1, protection=[tight]), data=rows, out=tmp_path / "r")
    updates = [(norm(before.tensors), norm(after.tensors)) for before, after in sent if before.kind == "train"]
    assert len(updates) == 4
    assert all(before > 0.1 and after == pytest.approx(0.01, rel=1e-5) for before, after in updates)
    assert done.history["update_norm"].iloc[0] > 0


def test_a_round_that_nobody_is_drawn_for_is_a_round(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.privacy import noise

    monkeypatch.setattr(noise, "coin", lambda probability, source: False)
    done = run(make_job(stop__rounds=2, protection=[DP], clients__fraction=0.5), data=rows, out=tmp_path / "r")
    assert done.history["clients"].tolist() == [0, 0]
    assert (done.history["update_norm"] > 0).all()
    assert done.summary["privacy"]["releases"] == 2


def test_an_adaptive_clip_is_kept_over_a_resume(make_job, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(Dp, "_count_noise", lambda self, plan: 3.0)  # else it is refused among four clients
    monkeypatch.setattr(Dp, "check", lambda self, job, plan: [])
    adaptive = {**DP, "clip": "adaptive", "start_clip": 0.3}
    foresee(monkeypatch)
    whole = run(make_job(stop__rounds=3, protection=[adaptive]), data=rows, out=tmp_path / "whole")
    foresee(monkeypatch)
    run(make_job(stop__rounds=1, protection=[adaptive]), data=rows, out=tmp_path / "cut")
    cut = run(make_job(stop__rounds=3, protection=[adaptive]), data=rows, resume=tmp_path / "cut")
    assert cut.history["clip_norm"].tolist() == whole.history["clip_norm"].tolist()
    assert len(set(whole.history["clip_norm"])) == 3
    assert_same_adapter(tmp_path / "whole", tmp_path / "cut")


def test_shares_of_the_noise_come_to_the_whole():
    """Among 50,000 values the sum of 4 shares, each of deviation z S / sqrt(4), has deviation z S = 2 * 0.5; the update is clipped before."""
    plan = Plan(clients=8, rate=1.0, rounds=3, values=50_000)
    dp = Dp(clip=0.5, noise="shares", noise_multiplier=2.0, epsilon=None)
    from fedtailor.messages import Manifest, MessageSpec, TensorSpec
    from fedtailor.records import Message

    spec = MessageSpec(tensors={"w": TensorSpec(dtype="float32", shape=(50_000,), reveals="update")})
    at = make_gate(Manifest(up={"train": spec}, down={}), [dp], client="a", plan=plan)
    sent = [decode(at.leave_client(Message(kind="train", tensors={"w": torch.zeros(50_000)}))).tensors["w"] for _ in range(4)]
    assert float(sent[0].std()) == pytest.approx(0.5, rel=0.02)
    assert float(sum(sent).std()) == pytest.approx(1.0, rel=0.02)
    assert dp.budget(plan).epsilon_seen(1) == epsilon_of([Release(noise_multiplier=1.0, rate=1.0)], dp.delta_for(plan))


def test_shares_run_and_end_if_too_few_answer(make_job, rows, tmp_path, monkeypatch):
    shares = {**DP, "noise": "shares"}
    done = run(make_job(stop__rounds=1, protection=[shares]), data=rows, out=tmp_path / "r")
    assert "with its own share of the noise" in done.summary["privacy"]["sentences"][1]
    with pytest.raises(RunError, match="answered, and their shares of the noise are enough from 4 on"):
        run(make_job(protection=[{**shares, "least": 4}], clients__failure_share=0.5), data=rows, out=tmp_path / "few")


def test_what_private_data_would_choose_is_replaced_and_said(make_job, rows, tmp_path):
    said = []
    parts = assemble(make_job(protection=[DP], stop__patience=3), given=rows, warn=said.append)
    assert (parts.job.stop.keep, parts.job.stop.patience) == ("last", None)
    assert any("stop.keep is last here, and not best" in text for text in said)
    assert any("stop.patience is null here, and not 3" in text for text in said)
    assert any("all clients count alike" in text for text in said)


REFUSED = [
    ({"epsilon": 0}, {}, "epsilon is a number above 0"),
    ({"delta": 2.0}, {}, "delta is a probability"),
    ({"clip": 0.0}, {}, "clip is the largest norm of an update, above 0"),
    ({"noise_multiplier": 0.01}, {}, "noise_multiplier is a number of clips, at least 0.1"),
    ({"noise_multiplier": None, "epsilon": None}, {}, "give one of them"),
    ({"clip": "adaptive", "noise": "shares"}, {}, "noise: shares does not go with clip: adaptive"),
    ({"delta": 0.3}, {}, "delta is 0.3, and must be below 1 / 4 clients"),
    ({"clip": "adaptive"}, {}, "among 4 clients a round that count would be noise"),
    ({"force": False, "noise_multiplier": 50.0}, {}, "nothing can be learned; take more clients"),
    ({"noise": "shares"}, {"clients__fraction": 0.5}, "noise: shares asks every client in each round"),
    ({}, {"clients__select": "by-size"}, "does not go with clients.select: by-size"),
    ({}, {"clients__count": 2}, "hides one client among others, and there are 2"),
    ({}, {"protocol__aggregation": {"kind": "rolora"}}, "rolora, which trains other tensors in each round"),
    ({}, {"protocol__aggregation": {"kind": "flexlora"}}, "does not go with protocol.aggregation: flexlora"),
    ({}, {"protocol": {"kind": "split", "cut": 1}}, "does not go with protocol: split"),
    (
        {},
        {"protocol": {"aggregation": "scaffold", "local": {"optimizer": "sgd", "learning_rate": 0.1}}},
        "does not go with protocol.aggregation: scaffold",
    ),
]


@pytest.mark.parametrize(("own", "changes", "words"), REFUSED, ids=[words[:40] for _, _, words in REFUSED])
def test_what_does_not_go_together_is_refused_before_any_work(make_job, rows, own, changes, words):
    def begun():
        parts = assemble(make_job(protection=[{**DP, **own}], **changes), given=rows)
        return parts.protocol.start(parts.worker)

    with pytest.raises(SettingError, match=words):
        begun()


def test_nothing_of_the_privacy_is_in_a_run_without_it(make_job, rows, tmp_path):
    done = run(make_job(stop__rounds=1), data=rows, out=tmp_path / "r")
    assert "privacy" not in done.summary
    assert "epsilon" not in pd.read_parquet(tmp_path / "r" / "rounds.parquet")
    assert not (tmp_path / "r" / "privacy.json").exists()
