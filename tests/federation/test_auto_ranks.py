"""Ranks that the server chooses, worked out by hand, and through whole runs."""

import io
import json

import pandas as pd
import pytest
from jobs import assert_same_adapter
from rich.console import Console
from unequal import job_of

from fedtailor.assembly import assemble
from fedtailor.cli.plan import plan_of
from fedtailor.errors import SettingError
from fedtailor.federation.auto_ranks import AutoRanks, Measured, choose, measured
from fedtailor.report.read import read_run
from fedtailor.report.run.tables import show
from fedtailor.running import run
from fedtailor.studies.baselines import baseline_job

RANKS = (1, 2, 4)


def took(rank=2, train=1.0, exchange=1.0, size=100.0, free=None):
    return Measured(rank=rank, train_seconds=train, exchange_seconds=exchange, bytes=size, free_bytes=free)


def test_each_gets_the_largest_rank_that_keeps_to_the_bound():
    # at ranks 1, 2, 4: near 1.5, 2, 3 s; far 3, 5, 9 s; slow 9 s whatever it sends
    known = {"near": took(), "far": took(exchange=4.0), "slow": took(train=9.0, exchange=0.0)}
    assert choose(known, RANKS, bound_s=5.0) == {"near": 4, "far": 2, "slow": 1}
    # without one, the median at the largest rank: of 3, 9 and 9 s
    assert choose(known, RANKS, bound_s=None) == {"near": 4, "far": 4, "slow": 4}
    assert choose({"near": took(), "even": took(exchange=2.0), "far": took(exchange=4.0)}, RANKS, bound_s=None) == {
        "near": 4,  # 3 s
        "even": 4,  # 5 s, the median
        "far": 2,  # 9 s at 4, 5 s at 2
    }
    assert choose({}, RANKS, bound_s=None) == {}


def test_a_larger_adapter_needs_memory_that_is_free():
    # 100 bytes both ways at rank 2 are 25 of weights for each rank: 4 copies of two ranks more are 200
    assert choose({"a": took(free=199.0)}, RANKS, bound_s=99.0) == {"a": 2}
    assert choose({"a": took(free=200.0)}, RANKS, bound_s=99.0) == {"a": 4}


def test_the_last_round_of_each_counts_and_failures_do_not():
    rows = [
        {"client": "a", "rank": 1, "tokens": 5, "seconds": 1.0, "exchange_seconds": 0.5, "up_bytes": 10, "down_bytes": 20},
        {"client": "a", "rank": 4, "tokens": 5, "seconds": 2.0, "exchange_seconds": 4.0, "up_bytes": 40, "down_bytes": 80},
        {"client": "a", "rank": 4, "error": "lost: Timeout"},
    ]
    assert measured(rows) == {"a": took(rank=4, train=2.0, exchange=4.0, size=120.0)}
    ranks = AutoRanks(ranks=RANKS, alpha=4.0, bound_s=4.5)
    assert (ranks["b"].rank, ranks["b"].scale, ranks["b"].shared_scale) == (1, 4.0, 1.0)
    ranks.learn(rows)  # 2 + 4 r / 4: 3, 4, 6 s
    assert (ranks["a"].rank, ranks["a"].scale) == (2, 2.0)


@pytest.fixture
def links(monkeypatch):
    """Let what each client's round took be what is said here: client-01 has a slow link, and from round 3 on client-00 has."""
    import fedtailor.federation.auto_ranks as module

    def said(rows):
        found = {}
        for client, own in measured(rows).items():
            slow = "client-00" if max(row["round"] for row in rows) >= 3 else "client-01"
            found[client] = took(rank=own.rank, exchange=own.rank * (3.0 if client == slow else 1.0))
        return found

    monkeypatch.setattr(module, "measured", said)


AUTO = {"tuning": {"kind": "lora", "rank": "auto", "ranks": [1, 2, 4], "alpha": 4}, "clients__overrides": {}}


@pytest.mark.few(1)
@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("rule", ["flexlora", "raflora", "flora"])
def test_clients_train_what_was_chosen_and_a_resumed_run_has_the_same_bits(rule, make_job, rows, tmp_path):
    changes = {**AUTO, "protocol__local__keep_optimizer": False, "stop__rounds": 4, "personalization": {"kind": "finetune"}}
    whole = run(job_of(make_job, rule, **changes), data=rows, out=tmp_path / "whole")
    table = pd.read_parquet(tmp_path / "whole" / "clients.parquet")
    by_round = table.pivot(index="round", columns="client", values="rank").to_numpy(dtype=int).tolist()
    assert by_round[0] == [1, 1, 1, 1]  # nobody was measured
    assert by_round[1] == by_round[2] == [4, 1, 4, 4]  # 1 + 4 s are allowed; the slow one has 1 + 3 r
    assert by_round[3] == [1, 4, 4, 4]
    sent = table.pivot(index="round", columns="client", values="up_bytes")
    assert sent.loc[2, "client-01"] < sent.loc[2, "client-00"]
    assert pd.read_parquet(tmp_path / "whole" / "rounds.parquet")["rank"].tolist() == [1.0, 3.25, 3.25, 3.25]
    run(job_of(make_job, rule, **{**changes, "stop__rounds": 2}), data=rows, out=tmp_path / "parts")
    run(job_of(make_job, rule, **changes), data=rows, resume=tmp_path / "parts")
    assert_same_adapter(tmp_path / "whole", tmp_path / "parts")
    assert json.loads((tmp_path / "whole" / "manifest.json").read_text())["sizes"] == {"rank": 4}
    assert whole.summary["metrics"]["after"]["loss"] < whole.summary["metrics"]["before"]["loss"]


def test_measured_for_real_every_rank_is_within_bounds(make_job, rows, tmp_path):
    changes = {**AUTO, "protocol__local__keep_optimizer": False, "stop__rounds": 3}
    run(job_of(make_job, **changes), data=rows, out=tmp_path / "r")
    assert set(pd.read_parquet(tmp_path / "r" / "clients.parquet")["rank"]) <= {1, 2, 4}


@pytest.mark.usefixtures("links")
def test_estimates_are_of_the_largest_rank_and_a_run_below_them_is_on_its_plan(make_job, rows, tmp_path):
    job = job_of(make_job, **{**AUTO, "protocol__local__keep_optimizer": False, "stop__rounds": 2})
    summary = run(job, data=rows, out=tmp_path / "r").summary
    found = {(row["what"], row["of"]): row for row in summary["plan"]["rows"]}
    for key in (("bytes", "train"), ("bytes", "evaluate"), ("operations", "train")):
        row = found[key]
        assert row["ratio"] < 0.98
        assert row["within"]
        assert row["bound"] == "most"
    events = [json.loads(line) for line in (tmp_path / "r" / "events.jsonl").read_text().splitlines()]
    assert [event for event in events if event["event"] == "off-plan" and event["what"] in {"bytes", "operations"}] == []
    table = pd.read_parquet(tmp_path / "r" / "clients.parquet")
    per_token = (table["train_flops"] / table["tokens"]).groupby(table["rank"]).first()
    assert per_token[4] > per_token[1]  # operations are those of the rank that was trained
    console = Console(width=400, file=io.StringIO())
    console.print(show(read_run(tmp_path / "r")))
    shown = console.file.getvalue()
    assert "lora r auto of 1, 2, 4" in shown
    assert "1–4" in shown
    assert "bytes of train" in shown
    assert "outside the margin: bytes" not in shown


def test_check_says_that_the_estimate_is_a_bound_and_what_the_least_rank_sends(make_job, rows):
    parts = assemble(job_of(make_job, **{**AUTO, "protocol__local__keep_optimizer": False}), given=rows)
    plan = plan_of(parts.job, parts, [])
    (text,) = [text for name, text in plan.estimated if name == "at most"]
    assert "of rank 4 for all" in text
    assert "At rank 1" in text
    (tuning,) = [text for name, text in plan.settings if name == "tuning"]
    assert "of 1, 2, 4, at most" in tuning


def test_auto_is_the_largest_rank_and_reads_back(make_job):
    job = job_of(make_job, **{**AUTO, "protocol__local__keep_optimizer": False})
    assert (job.tuning.rank, job.tuning.ranks) == (4, (1, 2, 4))
    assert type(job).from_dict(job.to_dict()) == job
    usual = job.replace("tuning", {"kind": "lora", "rank": "auto"}).tuning
    assert (usual.rank, usual.ranks) == (16, (2, 4, 8, 16))
    assert baseline_job(job, "central").tuning.ranks == ()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"protocol__aggregation": {"kind": "fedavg"}}, r"fedavg does not go with tuning.rank: auto"),
        ({"protocol__local__keep_optimizer": True}, r"keep_optimizer does not go with tuning.rank: auto"),
        ({"clients__overrides": {"client-01": {"tuning": {"rank": 1}}}}, r"overrides of ranks do not go with tuning.rank: auto"),
        (
            {"personalization": {"kind": "fedper", "home": ["lora_A"]}, "protocol__aggregation": {"kind": "raflora"}},
            r"tuning.rank: auto does not go with personalization: fedper",
        ),
        ({"protocol": {"kind": "split", "cut": 1}}, r"tuning.rank: auto does not go with protocol: split"),
        ({"tuning": {"kind": "lora", "rank": "auto", "ranks": [4]}}, r"two or more whole numbers"),
        ({"tuning": {"kind": "lora", "rank": 8, "ranks": [2, 4]}}, r"set rank: auto, or leave ranks out"),
        (
            {"tuning": {"kind": "lora", "rank": 8, "round_seconds": 2.0}},
            r"round_seconds bounds what rank: auto chooses, and rank is 8; set rank: auto",
        ),
        ({"tuning": {"kind": "lora", "rank": "automatic"}}, r"tuning.rank"),
    ],
)
def test_what_has_one_rank_is_refused(changes, text, make_job, rows, tmp_path):
    with pytest.raises(SettingError, match=text):
        run(job_of(make_job, **{**AUTO, "protocol__local__keep_optimizer": False, **changes}), data=rows, out=tmp_path / "r")
