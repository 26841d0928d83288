"""Whole runs with DP-SGD: what is promised, what is sent, what is counted over an interruption."""

import json

import pandas as pd
import pytest
from foreseen import foresee
from jobs import assert_same_adapter

from fedtailor.assembly import assemble
from fedtailor.cli.plan import plan_of
from fedtailor.errors import DataError, SettingError
from fedtailor.privacy.accountant import epsilon_of
from fedtailor.privacy.budget import Release
from fedtailor.running import run
from fedtailor.running.resume import job_of_run

FIXED = {"noise_multiplier": 1.0, "epsilon": None, "delta": 0.01}
LOCAL = {"learning_rate": 0.02, "batch_size": 2, "steps": 2}


def private(make_job, given=FIXED, **changes):
    return make_job(protocol__local={**LOCAL, "privacy": {"kind": "dp-sgd", **given}}, tuning__dropout=0.0, **changes)


def test_each_client_counts_its_steps_and_the_run_says_both_numbers(make_job, rows, tmp_path):
    done = run(private(make_job, stop__rounds=2), data=rows, out=tmp_path / "r")
    spent = done.summary["privacy"]
    told = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "r" / "clients").glob("*/privacy.json")}
    assert len(told) == 4
    worst = max(
        epsilon_of([Release(**each) for each in found["releases"]], 0.01) for found in told.values()
    )  # hidden examples are those of one client each: the largest counts, not the sum
    assert spent["epsilon"] == worst == max(spent["clients"].values())
    assert all(sum(each["count"] for each in found["releases"]) == 4 for found in told.values())  # 2 rounds of 2 steps
    assert "for adding or removing one example of one client, against whoever sees all updates" in spent["sentences"][0]
    assert "someone who also knows which steps drew them" in spent["sentences"][1]
    assert done.history["epsilon"].iloc[-1] == worst
    assert done.history["epsilon"].iloc[0] < worst
    clients = pd.read_parquet(tmp_path / "r" / "clients.parquet")
    assert not {"first_loss", "last_loss"} & set(clients)  # functions of single examples
    assert clients["targets"].tolist() == [4] * 8


def test_a_resumed_run_has_the_same_weights_where_draws_are_the_same(make_job, rows, tmp_path, monkeypatch):
    job = private(make_job, stop__rounds=2)
    foresee(monkeypatch)
    whole = run(job, data=rows, out=tmp_path / "whole")
    foresee(monkeypatch)
    run(job.replace("stop.rounds", 1), data=rows, out=tmp_path / "cut")
    cut = run(job_of_run(tmp_path / "cut").replace("stop.rounds", 2), data=rows, resume=tmp_path / "cut")
    assert_same_adapter(tmp_path / "whole", tmp_path / "cut")
    assert cut.summary["privacy"] == whole.summary["privacy"]


def test_an_interrupted_round_counts_twice_and_the_run_ends_before_the_budget_is_passed(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.protocols.averaging import server

    job = private(make_job, {"epsilon": 20.0, "delta": 0.01}, stop__rounds=3)
    combine, calls = server.Collector._take, []

    def dies(self, reply):
        calls.append(reply.client)
        if len(calls) == 6:  # of round 2, after its first clients have trained
            raise KeyboardInterrupt
        return combine(self, reply)

    monkeypatch.setattr(server.Collector, "_take", dies)
    with pytest.raises(KeyboardInterrupt):
        run(job, data=rows, out=tmp_path / "r")
    monkeypatch.setattr(server.Collector, "_take", combine)
    done = run(job_of_run(tmp_path / "r"), data=rows, resume=tmp_path / "r")
    assert done.summary["stopped_by"] == "privacy budget"
    assert done.summary["rounds"] == 2  # the third would be the fourth of those that were interrupted
    assert done.summary["privacy"]["epsilon"] <= 20.0
    counts = [
        sum(each["count"] for each in json.loads(path.read_text())["releases"])
        for path in sorted((tmp_path / "r" / "clients").glob("*/privacy.json"))
    ]
    assert max(counts) == 6
    assert min(counts) == 4


def test_people_are_units_by_a_column_and_most_rows_bounds_each(make_job, rows, tmp_path):
    people = [{**row, "patient": f"p{number // 2}"} for number, row in enumerate(rows)]
    unit = {**FIXED, "unit": {"column": "patient"}, "most_rows": 1}
    said = []
    parts = assemble(
        private(make_job, unit, clients__validation_share=0.0, clients__test_share=0.0), given=people, warn=said.append
    )
    for client, state in parts.clients.items():
        ids = [example.fields["patient"] for example in parts.divided.train[client]]
        assert len(state.private.units) == len(set(ids))
        assert all(len(found) == 1 for found in state.private.units)
    assert any("are left out: they are beyond the first 1 of their 'patient'" in text for text in said)
    done = run(private(make_job, {**unit, "most_rows": 16}, stop__rounds=1), data=people, out=tmp_path / "r")
    assert "removing all examples of one 'patient' of one client" in done.summary["privacy"]["sentences"][0]


def test_check_says_both_numbers_and_noise_over_signal(make_job, rows):
    job = private(make_job, {"epsilon": 8.0, "delta": 0.01})
    parts = assemble(job, given=rows)
    plan = plan_of(job, parts, ())
    told = dict(plan.settings)
    assert told["privacy"].startswith("(epsilon 8, delta 0.01) for adding or removing one example")
    assert "which steps drew them, epsilon is" in told["privacy"]
    assert "clips in each of 6 steps of client" in told["noise"]
    assert "times in the mean of 4 clients" in told["noise"]


def test_personal_weights_take_no_noise_and_cost_nothing(make_job, rows, tmp_path):
    job = private(make_job, stop__rounds=1, personalization={"kind": "ditto"})
    done = run(job, data=rows, out=tmp_path / "r")
    alone = run(private(make_job, stop__rounds=1), data=rows, out=tmp_path / "alone")
    assert done.summary["privacy"]["epsilon"] == alone.summary["privacy"]["epsilon"]


REFUSED = [
    ({"personalization": {"kind": "fedrep", "home": ["lora_B"]}}, "dp-sgd does not go with personalization: fedrep"),
    ({"protocol__weights": "targets"}, "does not go with protocol.weights: targets"),
    ({"protection": [{"kind": "dp", "force": True}]}, "does not go with protection: dp"),
    ({"protocol__local__batch_size": 500}, "and a step draws 500 on average"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED, ids=[words[:40] for _, words in REFUSED])
def test_what_does_not_go_together_is_refused_before_any_work(make_job, rows, changes, words):
    with pytest.raises(SettingError, match=words):
        assemble(private(make_job, {**FIXED, "delta": 1e-5}, **changes), given=rows)


def test_a_column_that_is_not_there_is_named(make_job, rows):
    with pytest.raises(DataError, match="has no 'patient', so nobody knows whose it is; it has input, target"):
        assemble(private(make_job, {**FIXED, "unit": {"column": "patient"}}), given=rows)
