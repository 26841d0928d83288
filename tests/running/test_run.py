"""A whole run, from a job to its folder."""

import json

import pandas as pd
import pytest
import torch
from jobs import assert_same_adapter

from fedtailor.errors import DataError, ResumeError, TooFewClients
from fedtailor.running import run


def test_training_helps_and_the_folder_reports_all(make_job, rows, tmp_path):
    result = run(make_job(stop__rounds=4), data=rows, out=tmp_path / "r")
    told = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert told == result.summary
    assert told["metrics"]["after"]["loss"] < told["metrics"]["before"]["loss"] - 0.02
    assert told["rounds"] == 4
    assert told["stopped_by"] == "rounds"
    assert list(result.history["round"]) == [1, 2, 3, 4]
    assert {p.name for p in (tmp_path / "r").iterdir()} >= {
        "job.yaml", "environment.json", "manifest.json", "partition.parquet", "events.jsonl",
        "rounds.parquet", "clients.parquet", "evaluations.parquet", "summary.json", "adapter", "clients",
    }  # fmt: skip
    clients = pd.read_parquet(tmp_path / "r" / "clients.parquet")
    assert len(clients) == 16
    assert clients["cosine"].between(-1, 1).all()
    assert told["flops"]["client_total"] == pytest.approx(clients["train_flops"].sum())


def test_the_ledger_counts_what_was_encoded(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.protection import gate

    lengths = []
    encode = gate.encode
    monkeypatch.setattr(gate, "encode", lambda message: lengths.append((message.kind, len(encode(message)))) or encode(message))
    summary = run(make_job(), data=rows, out=tmp_path / "r").summary
    kinds = summary["traffic"]["by_kind"]
    # a message to all clients is encoded once and sent to each of the four; what comes up is encoded by each
    up = [length for kind, length in lengths if kind == "train"]
    downs, ups = up[0::5], [length for i, length in enumerate(up) if i % 5]
    assert kinds["train"]["down_bytes"] == 4 * sum(downs)
    assert kinds["train"]["up_bytes"] == sum(ups)
    assert summary["traffic"]["up_bytes"] == sum(kind["up_bytes"] for kind in kinds.values())
    rounds = pd.read_parquet(tmp_path / "r" / "rounds.parquet")
    assert rounds["up_bytes"].sum() == kinds["train"]["up_bytes"]


def test_the_same_seed_gives_the_same_bits_and_another_does_not(make_job, rows, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(make_job(seed=seed), data=rows, out=tmp_path / name)
    assert_same_adapter(tmp_path / "a", tmp_path / "b")
    with pytest.raises(AssertionError):
        assert_same_adapter(tmp_path / "a", tmp_path / "c")


def test_the_order_in_which_clients_run_changes_nothing(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.federation import LocalFederation

    run(make_job(), data=rows, out=tmp_path / "a")
    ask = LocalFederation.ask
    monkeypatch.setattr(
        LocalFederation, "ask", lambda self, requests, timeout_s=None: ask(self, dict(reversed(requests.items())))
    )
    run(make_job(), data=rows, out=tmp_path / "b")
    assert_same_adapter(tmp_path / "a", tmp_path / "b")


def test_the_global_random_state_is_neither_used_nor_moved(make_job, rows, tmp_path):
    torch.manual_seed(1)
    run(make_job(), data=rows, out=tmp_path / "a")
    after = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(3))
    torch.manual_seed(2)
    run(make_job(), data=rows, out=tmp_path / "b")
    assert_same_adapter(tmp_path / "a", tmp_path / "b")


def test_another_test_set_does_not_change_where_a_run_stops(make_job, rows, tmp_path):
    told = []
    for name, test in (("a", rows[:6]), ("b", [{**row, "target": "entirely other words"} for row in rows[:6]])):
        job = make_job(stop__rounds=6, stop__patience=1, protocol__local__learning_rate=0.3)
        result = run(job, data={"train": rows, "test": test}, out=tmp_path / name)
        told.append((result.summary["rounds"], result.summary["best_round"], result.summary["metrics"]["after"]["loss"]))
    assert told[0][:2] == told[1][:2]
    assert told[0][2] != told[1][2]
    assert_same_adapter(tmp_path / "a", tmp_path / "b")


def test_patience_ends_a_run_and_the_best_round_is_kept(make_job, rows, tmp_path):
    job = make_job(stop__rounds=12, stop__patience=2, protocol__local__learning_rate=0.1)
    strange = [{**row, "target": "ZQZQ"} for row in rows[:8]]  # what training makes less likely, from the second round on
    summary = run(job, data={"train": rows, "validation": strange}, out=tmp_path / "r").summary
    losses = pd.read_parquet(tmp_path / "r" / "rounds.parquet")["validation_loss"].tolist()
    losses = [summary["validation_loss"]["before"], *losses]
    assert summary["stopped_by"] == "patience"
    assert summary["best_round"] == losses.index(min(losses)) == summary["rounds"] - 2
    assert summary["validation_loss"]["after"] == min(losses)


def test_nothing_is_written_where_the_job_is_wrong(make_job, rows, tmp_path):
    with pytest.raises(DataError):
        run(make_job(), data=[{**row, "target": ""} for row in rows], out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_client_that_fails_is_dropped_named_and_the_round_continues(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.learning import training

    train = training.train_locally

    def fail_at_client_2(work):
        if work.client.endswith("2"):
            raise MemoryError("the row of Mrs Jones does not fit")
        return train(work)

    monkeypatch.setattr(training, "train_locally", fail_at_client_2)
    summary = run(make_job(), data=rows, out=tmp_path / "r").summary
    assert summary["rounds"] == 3
    clients = pd.read_parquet(tmp_path / "r" / "clients.parquet")
    assert set(clients.loc[clients["error"].notna(), "client"]) == {sorted(clients["client"])[-4][:-1] + "2"}
    assert "Jones" not in (tmp_path / "r" / "events.jsonl").read_text()
    assert "Jones" in next((tmp_path / "r" / "clients").glob("*2/log.txt")).read_text()


def test_too_few_clients_stop_the_run_with_its_state_saved(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.learning import training

    train = training.train_locally
    calls = []

    def fail_in_round_2(work):
        calls.append(work.round)
        if work.round == 2:
            raise MemoryError
        return train(work)

    monkeypatch.setattr(training, "train_locally", fail_in_round_2)
    with pytest.raises(TooFewClients, match="round 2: 0 of 4"):
        run(make_job(), data=rows, out=tmp_path / "r")
    assert calls == [1] * 4 + [2] * 8  # tried twice
    monkeypatch.setattr(training, "train_locally", train)
    run(make_job(), data=rows, resume=tmp_path / "r")
    run(make_job(), data=rows, out=tmp_path / "whole")
    assert_same_adapter(tmp_path / "whole", tmp_path / "r")


def test_other_data_are_refused_on_resume(make_job, rows, tmp_path):
    run(make_job(stop__rounds=1), data=rows, out=tmp_path / "r")
    with pytest.raises(ResumeError, match="another data"):
        run(make_job(stop__rounds=2), data=[*rows[:-1], {**rows[-1], "target": "changed"}], resume=tmp_path / "r")
    assert run(make_job(stop__rounds=2), data=rows, resume=tmp_path / "r").summary["rounds"] == 2


def test_a_run_of_a_version_that_read_data_otherwise_says_so(make_job, rows, tmp_path):
    run(make_job(stop__rounds=1), data=rows, out=tmp_path / "r")
    file = tmp_path / "r" / "environment.json"
    noted = json.loads(file.read_text())
    del noted["reading"], noted["sealed"]
    file.write_text(json.dumps({**noted, "data": "0" * 64, "packages": {"fedtailor": "0.1.0"}, "python": "3.11.7"}))
    (tmp_path / "r" / "hashes.json").unlink()  # that version wrote none
    want = r"begun by an earlier version \(fedtailor 0\.1\.0, Python 3\.11\.7\), which read and divided data otherwise.*fedtailor run .*job\.yaml --out"
    with pytest.raises(ResumeError, match=want):
        run(make_job(stop__rounds=2), data=rows, resume=tmp_path / "r")
    file.write_text(json.dumps(noted))
    assert run(make_job(stop__rounds=2), data=rows, resume=tmp_path / "r").summary["rounds"] == 2  # data that are the same go on


def test_a_run_that_nobody_can_evaluate_says_so(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.errors import RunError
    from fedtailor.learning.worker import Worker

    def fail(self, shard, *, generate):
        raise MemoryError

    monkeypatch.setattr(Worker, "evaluate", fail)
    with pytest.raises(RunError, match="none of 4 clients could evaluate"):
        run(make_job(), data=rows, out=tmp_path / "r")


def test_what_a_failed_attempt_sent_is_counted_and_its_failures_are_reported(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.learning import training
    from fedtailor.protection.gate import Gate

    sent = []
    leave = Gate.leave_client
    monkeypatch.setattr(
        Gate, "leave_client", lambda self, message, asked=None: sent.append((message.kind, leave(self, message))) or sent[-1][1]
    )
    train, calls = training.train_locally, []

    def fail_at_first(work):
        calls.append(work.client)
        if len(calls) <= 3:
            raise MemoryError
        return train(work)

    monkeypatch.setattr(training, "train_locally", fail_at_first)
    summary = run(make_job(stop__rounds=1), data=rows, out=tmp_path / "r").summary
    assert summary["traffic"]["by_kind"]["train"]["up_bytes"] == sum(len(data) for kind, data in sent if kind == "train")
    clients = pd.read_parquet(tmp_path / "r" / "clients.parquet")
    assert sorted(clients["attempt"]) == [1] * 4 + [2] * 4
    assert (tmp_path / "r" / "events.jsonl").read_text().count("MemoryError") == 3


def test_a_schedule_ends_where_the_first_start_planned(make_job, rows, tmp_path):
    """More rounds are refused before training; a stretched schedule continues at the learning rate that it then has."""
    changes = {"protocol__local__schedule": "linear", "protocol__local__optimizer": "sgd", "protocol__local__learning_rate": 0.5}
    run(make_job(stop__rounds=2, **changes), data=rows, out=tmp_path / "r")
    with pytest.raises(ResumeError, match="ends with round 2: rounds 3 to 4 would train at a learning rate of 0"):
        run(make_job(stop__rounds=4, **changes), data=rows, resume=tmp_path / "r")
    stretched = make_job(stop__rounds=4, protocol__local__schedule_rounds=4, **changes)
    run(stretched, data=rows, resume=tmp_path / "r")
    norms = pd.read_parquet(tmp_path / "r" / "rounds.parquet")["update_norm"].tolist()
    assert norms[1] < norms[0]
    assert len(norms) == 4
    assert min(norms[2:]) > 0


def test_a_baseline_is_not_resumed(make_job, rows, tmp_path):
    from fedtailor.studies.baselines import run_baseline

    for kind in ("central", "local"):
        run_baseline(make_job(stop__rounds=1), kind, data=rows, out=tmp_path / kind)
        with pytest.raises(ResumeError, match=kind):
            run(make_job(stop__rounds=2), data=rows, resume=tmp_path / kind)


def test_clients_that_could_not_be_evaluated_are_named_in_the_summary(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.protocols.averaging import client as averaging_client

    answer = averaging_client.answer_evaluation

    def fail_at_client_1(client, message):
        if client.id.endswith("1"):
            raise MemoryError
        return answer(client, message)

    monkeypatch.setattr(averaging_client, "answer_evaluation", fail_at_client_1)
    clients = run(make_job(stop__rounds=1), data=rows, out=tmp_path / "r").summary["clients"]
    assert (clients["count"], len(clients["failed"])) == (4, 1)


def test_without_test_examples_the_figures_are_those_of_validation(make_job, rows, tmp_path):
    summary = run(make_job(stop__rounds=1, clients__test_share=0.0), data=rows, out=tmp_path / "r").summary
    assert summary["metrics_over"] == "validation"
    assert summary["metrics"]["after"]["loss"] == pytest.approx(summary["validation_loss"]["after"])
    assert "nobody has test examples" in (tmp_path / "r" / "events.jsonl").read_text()
