"""Runs that are gone on with, and checkpoints that are damaged."""

import pandas as pd
import pytest
from jobs import assert_same_adapter

from fedtailor.errors import ResumeError
from fedtailor.running import run


def test_a_run_continues_with_more_rounds_as_if_never_stopped(make_job, rows, tmp_path):
    changes = {
        "protocol__local__keep_optimizer": True,
        "protocol__local__schedule": "linear",
        "protocol__local__schedule_rounds": 9,
    }
    run(make_job(stop__rounds=4, **changes), data=rows, out=tmp_path / "whole")
    run(make_job(stop__rounds=2, **changes), data=rows, out=tmp_path / "parts")
    summary = run(make_job(stop__rounds=4, **changes), data=rows, resume=tmp_path / "parts").summary
    assert summary["rounds"] == 4
    assert_same_adapter(tmp_path / "whole", tmp_path / "parts")
    left, right = (pd.read_parquet(tmp_path / name / "rounds.parquet").drop(columns="seconds") for name in ("whole", "parts"))
    exact = [column for column in left if not column.endswith("bytes")]  # messages tell seconds, whose digits vary
    pd.testing.assert_frame_equal(left[exact], right[exact], check_dtype=False)


def test_only_stop_may_differ_on_resume(make_job, rows, tmp_path):
    run(make_job(stop__rounds=1), data=rows, out=tmp_path / "r")
    with pytest.raises(ResumeError, match=r"protocol\.local\.batch_size"):
        run(make_job(protocol__local__batch_size=2), data=rows, resume=tmp_path / "r")
    with pytest.raises(ResumeError, match="is no run folder: there is nothing of that name"):
        run(make_job(), data=rows, resume=tmp_path / "nowhere")
    with pytest.raises(ResumeError, match="--resume"):
        run(make_job(), data=rows, out=tmp_path / "r")


def test_a_damaged_checkpoint_is_passed_over_and_named(make_job, rows, tmp_path):
    run(make_job(), data=rows, out=tmp_path / "whole")
    run(make_job(), data=rows, out=tmp_path / "hurt")
    file = tmp_path / "hurt" / "checkpoint" / "000003" / "shared.safetensors"
    file.write_bytes(file.read_bytes()[:-8] + b"\x00" * 8)
    run(make_job(), data=rows, resume=tmp_path / "hurt")
    assert_same_adapter(tmp_path / "whole", tmp_path / "hurt")
    assert "damaged-checkpoint" in (tmp_path / "hurt" / "events.jsonl").read_text()


def test_what_a_kill_in_the_middle_of_saving_left_of_an_older_checkpoint_is_removed(make_job, rows, tmp_path):
    home = tmp_path / "r" / "checkpoint"
    run(make_job(), data=rows, out=tmp_path / "r")
    kept = sorted(path.name for path in home.glob("[0-9]*"))
    (home / "000001").mkdir()
    run(make_job(), data=rows, resume=tmp_path / "r")
    assert sorted(path.name for path in home.glob("[0-9]*")) == kept == ["000002", "000003"]


def test_a_damaged_checkpoint_after_a_kill_within_a_round_gives_the_same_bits(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.learning import training

    job = make_job(stop__rounds=4, protocol__local__keep_optimizer=True)
    run(job, data=rows, out=tmp_path / "whole")
    train = training.train_locally

    def die_in_round_4(work):
        if work.round == 4 and work.client.endswith("2"):
            raise KeyboardInterrupt
        return train(work)

    monkeypatch.setattr(training, "train_locally", die_in_round_4)
    with pytest.raises(KeyboardInterrupt):
        run(job, data=rows, out=tmp_path / "hurt")
    monkeypatch.setattr(training, "train_locally", train)
    file = tmp_path / "hurt" / "checkpoint" / "000003" / "shared.safetensors"
    file.write_bytes(file.read_bytes()[:-8] + b"\x01" * 8)
    run(job, data=rows, resume=tmp_path / "hurt")
    assert_same_adapter(tmp_path / "whole", tmp_path / "hurt")


def test_all_checkpoints_damaged_is_an_error_not_a_new_start(make_job, rows, tmp_path):
    run(make_job(stop__rounds=1), data=rows, out=tmp_path / "r")
    for file in (tmp_path / "r" / "checkpoint").glob("*/progress.json"):
        file.write_text("{}")
    with pytest.raises(ResumeError, match="damaged"):
        run(make_job(stop__rounds=2), data=rows, resume=tmp_path / "r")
