"""Robust rules in whole jobs: who had how little is named, and too few clients are refused before anything is done."""

import json

import pandas as pd
import pytest
from jobs import tiny_rows

from fedtailor.assembly import assemble
from fedtailor.errors import SettingError, TooFewClients
from fedtailor.running import run


@pytest.mark.parametrize(
    "rule",
    [
        "median",
        {"kind": "trimmed-mean", "share": 0.25},
        "krum",
        {"kind": "multi-krum", "hostile": 0},
        "geometric-median",
        "norm-clip",
        {"kind": "bucketing", "size": 2, "rule": {"kind": "norm-clip", "norm": 1.0}},
    ],
    ids=str,
)
def test_every_robust_rule_runs(make_job, rows, tmp_path, rule):
    result = run(make_job(stop__rounds=1, protocol__aggregation=rule), data=rows, out=tmp_path / "r")
    assert result.summary["metrics"]["after"]["loss"] < result.summary["metrics"]["before"]["loss"] + 0.01


@pytest.mark.parametrize(
    "tuning", [{"kind": "prefix", "length": 2, "exchange": "prefix"}, "full", {"kind": "adapter", "width": 2}], ids=str
)
def test_they_take_the_messages_of_any_tuning(make_job, rows, tmp_path, tuning):
    job = make_job(stop__rounds=1, tuning=tuning, protocol__aggregation={"kind": "multi-krum", "hostile": 0})
    assert run(job, data=rows, out=tmp_path / "r").history["update_norm"].gt(0).all()


def test_who_is_left_out_is_named(make_job, rows, tmp_path):
    run(make_job(stop__rounds=1, protocol__aggregation="krum"), data=rows, out=tmp_path / "r")
    clients = pd.read_parquet(tmp_path / "r" / "clients.parquet")
    assert sorted(clients["share"]) == [0, 0, 0, 1]
    assert pd.read_parquet(tmp_path / "r" / "rounds.parquet")["counted_less"].tolist() == [3]
    events = [json.loads(line) for line in (tmp_path / "r" / "events.jsonl").read_text().splitlines()]
    (named,) = [event for event in events if event["event"] == "counted-less"]
    assert named["left_out"] == sorted(clients[clients["share"] == 0]["client"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"protocol__aggregation": {"kind": "krum", "hostile": 1}},
            "krum takes 5 .*hostile: 1.* asks 4 clients.*set hostile to 0 at most",
        ),
        ({"protocol__aggregation": "krum", "clients__fraction": 0.5}, "takes 3 updates at least, and a round asks 2"),
        ({"protocol__aggregation": {"kind": "bucketing", "rule": "median"}}, "bucketing takes 5"),
        (
            {"protocol__aggregation": "krum", "protection": [{"kind": "dp", "clip": 1.0, "force": True}]},
            "dp does not go with protocol.aggregation: krum",
        ),
        ({"protocol__aggregation": "median", "personalization": "fedalt"}, "does not go with protocol.aggregation: median"),
    ],
)
def test_what_does_not_go_together_is_refused(make_job, changes, words):
    with pytest.raises(SettingError, match=words):
        assemble(make_job(**changes), given=tiny_rows())


def test_all_clients_alike_is_said(make_job):
    said = []
    assemble(make_job(protocol__aggregation="median"), given=tiny_rows(), warn=said.append)
    assert any("protocol.weights: examples has no effect" in text for text in said)


def test_a_bucket_holds_no_bucket(make_job):
    with pytest.raises(SettingError, match="krum"):
        make_job(protocol__aggregation={"kind": "bucketing", "rule": "bucketing"})


def test_too_few_answers_end_the_run_with_the_number_that_the_rule_takes(make_job, rows, tmp_path):
    job = make_job(stop__rounds=4, protocol__aggregation="krum", clients__failure_share=0.6)
    with pytest.raises(TooFewClients, match="this aggregation rule takes 3 answers at least"):
        run(job, data=rows, out=tmp_path / "r")
