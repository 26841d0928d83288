"""A run that goes wrong says what, and can be resumed with what was changed."""

import json
import math
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest
from jobs import assert_same_adapter, tiny_job, tiny_rows

from fedtailor.diverged import Diverged, advice, wording
from fedtailor.errors import ResumeError, RunError, TooFewClients
from fedtailor.records import ServerState
from fedtailor.running import run
from fedtailor.running.lock import FolderLock
from fedtailor.running.progress import Progress
from fedtailor.running.resume import job_of_run
from fedtailor.storage import StorageError

SGD = {"protocol__local__optimizer": "sgd", "protocol__local__clip_norm": None}


@pytest.fixture(scope="module")
def done(tiny_backbone_folder, tmp_path_factory):
    """Return the folder of a run of two rounds that keeps what clients can keep, and its job; take a copy of it."""
    folder = tmp_path_factory.mktemp("done") / "r"
    job = tiny_job(tiny_backbone_folder, stop__rounds=2, protocol__local__keep_optimizer=True)
    run(job, data=tiny_rows(), out=folder)
    return folder, job


@pytest.fixture
def copy_of(done, tmp_path):
    shutil.copytree(done[0], tmp_path / "r")
    return tmp_path / "r"


def test_divergence_names_client_step_and_what_to_change_and_a_smaller_rate_continues(make_job, rows, tmp_path):
    job = make_job(
        stop__rounds=1, protocol__local__learning_rate=1000.0, protocol__local__steps=20, protocol__local__weight_decay=1.0, **SGD
    )
    with pytest.raises(TooFewClients) as fault:
        run(job, data=rows, out=tmp_path / "r")
    said = str(fault.value)
    assert "client-00: its " in said
    assert " in step " in said
    assert "lower protocol.local.learning_rate (it is 1000)" in said
    assert "off-manifest" not in said
    log = (tmp_path / "r" / "clients" / "client-00" / "log.txt").read_text()
    assert "at a learning rate of 1000" in log
    better = job_of_run(tmp_path / "r", ["protocol.local.learning_rate=0.02"])
    assert run(better, data=rows, resume=tmp_path / "r").summary["rounds"] == 1
    assert "protocol.local.learning_rate is 0.02 from here on; it was 1000.0" in (tmp_path / "r" / "events.jsonl").read_text()


def test_the_mark_of_a_divergence_is_one_word_that_reads_back():
    fault = Diverged("validation loss", math.inf, round=3, step=7, rate=0.5)
    assert fault.mark.isidentifier()
    assert wording("not-finite", fault.mark) == "its validation loss became infinite in step 7"
    assert "of round 3 at a learning rate of 0.5" in str(fault)
    assert wording("not-finite", Diverged("training loss", 1e7, step=2).mark) == "its training loss became too large in step 2"
    assert wording("timeout", "TimedOut") == "timeout (TimedOut)"
    assert "protocol.local.learning_rate=0.05" in advice([fault.mark], rate=0.5)
    assert advice(["TimedOut"], rate=0.5) == ""


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf, None])
def test_a_loss_that_is_no_number_decides_nothing(strange):
    progress = Progress(state=ServerState(version=0, shared={}))
    for round, loss in enumerate([2.0, strange, strange, 1.5, strange]):
        progress.judge(loss, round)
    assert (progress.figures["best_loss"], progress.figures["best_round"], progress.figures["without_gain"]) == (1.5, 3, 0)


@pytest.mark.parametrize(("strange", "said"), [(math.nan, "NaN"), (3e6, "too large")])
def test_a_client_whose_loss_is_no_number_or_huge_is_left_out(make_job, tmp_path, monkeypatch, strange, said):
    from fedtailor.learning import worker

    evaluate, calls = worker.evaluate, []

    def strange_at_the_first(*args, **kwargs):
        found = evaluate(*args, **kwargs)
        calls.append(found)
        return type(found)(figures={**found.figures, "loss": strange}) if len(calls) == 1 else found

    monkeypatch.setattr(worker, "evaluate", strange_at_the_first)
    summary = run(make_job(stop__rounds=1, stop__patience=1), data=tiny_rows(), out=tmp_path / "r").summary
    assert summary["best_round"] == 1
    events = (tmp_path / "r" / "events.jsonl").read_text()
    assert f"its validation loss became {said}" in events


def test_a_perplexity_per_word_that_is_beyond_all_bounds_drops_no_client(make_job, tmp_path):
    rows = [
        {"input": f"заявка {i}", "target": "достопримечательность рассматривается"} for i in range(24)
    ]  # 75 bytes of two words
    job = make_job(stop__rounds=1, clients__count=2, evaluation__metrics=["loss"])
    summary = run(job, data=rows, out=tmp_path / "r").summary
    assert math.exp(summary["metrics"]["before"]["loss"] * 76 / 2) > 1e12  # and an end token
    assert "perplexity" in summary["metrics"]["before"]
    assert "perplexity_word" not in summary["metrics"]["before"]
    assert not any("dropped" in line or "failure" in line for line in (tmp_path / "r" / "events.jsonl").open())


def test_nothing_better_than_the_start_is_said(make_job, rows, tmp_path):
    job = make_job(stop__rounds=1, protocol__local__learning_rate=1e-30, protocol__local__optimizer="sgd")  # changes no weight
    result = run(job, data=rows, out=tmp_path / "r")
    assert result.summary["better_than_start"] is False
    assert result.summary["best_round"] == 0
    assert "no round had a smaller validation loss than the start" in (tmp_path / "r" / "events.jsonl").read_text()


def test_a_schedule_that_has_ended_is_refused_before_training(make_job, rows, tmp_path):
    for kind in ("cosine", "linear"):
        folder = tmp_path / kind
        run(make_job(stop__rounds=1, protocol__local__schedule=kind), data=rows, out=folder)
        with pytest.raises(
            ResumeError, match=r"rounds 2 to 3 would train at a learning rate of 0; add protocol\.local\.schedule_rounds=3"
        ):
            run(job_of_run(folder, ["stop.rounds=3"]), data=rows, resume=folder)
        assert (folder / "summary.json").exists()  # nothing was touched
    longer = job_of_run(folder, ["stop.rounds=2", "protocol.local.schedule_rounds=3"])
    run(longer, data=rows, resume=folder)
    assert pd.read_parquet(folder / "rounds.parquet")["update_norm"].min() > 0


def test_a_run_without_a_round_left_says_so_before_training(done, copy_of, rows):
    said: list[str] = []

    def listen(kind, facts):
        said.append(facts["text"] if kind == "warning" else kind)

    left = r"has no round left to train: it has done 2 rounds, and stop\.rounds is 2; to train more, add stop\.rounds=3 or more"
    before = (copy_of / "job.yaml").read_bytes()
    for idle in ("protocol.local.learning_rate=0.001", "protocol.local.clip_norm=3", "evaluation.every=2"):
        with pytest.raises(ResumeError, match=rf"{left}\. {idle.split('=')[0]} would change nothing"):
            run(job_of_run(copy_of, [idle]), data=rows, resume=copy_of)
    assert (copy_of / "job.yaml").read_bytes() == before
    run(job_of_run(copy_of, ["threads=2"]), data=rows, resume=copy_of, watcher=listen)
    assert re.search(left, " ".join(said[: said.index("done")]))
    with pytest.raises(ResumeError, match=r"has done 2 rounds, and stop\.rounds is 1; .* stop\.rounds=3"):
        run(job_of_run(copy_of, ["stop.rounds=1", "protocol.local.learning_rate=0.001"]), data=rows, resume=copy_of)
    said.clear()
    run(job_of_run(copy_of, ["stop.rounds=3", "protocol.local.learning_rate=0.001"]), data=rows, resume=copy_of, watcher=listen)
    assert "no round left" not in " ".join(said)
    assert "round" in said


def test_a_run_that_patience_ended_names_patience(make_job, rows, tmp_path):
    still = {"protocol__local__learning_rate": 1e-30, "protocol__local__optimizer": "sgd"}
    run(make_job(stop__rounds=3, stop__patience=1, **still), data=rows, out=tmp_path / "r")
    with pytest.raises(
        ResumeError, match=r"has not fallen since round 0, and stop\.patience is 1; to train more, add stop\.patience=null\. "
    ):
        run(job_of_run(tmp_path / "r", ["protocol.local.learning_rate=0.02"]), data=rows, resume=tmp_path / "r")
    more = job_of_run(tmp_path / "r", ["protocol.local.learning_rate=0.02", "stop.patience=null", "protocol.local.clip_norm=1"])
    assert run(more, data=rows, resume=tmp_path / "r").summary["rounds"] == 3


def test_the_runs_own_job_needs_no_override_and_other_settings_are_refused(done, copy_of, rows):
    assert job_of_run(copy_of).differences(done[1]) == []
    with pytest.raises(ResumeError, match=r"tuning\.rank differ; on --resume may change: stop, protocol\.local\.learning_rate"):
        run(job_of_run(copy_of, ["tuning.rank=4"]), data=rows, resume=copy_of)


@pytest.mark.parametrize("name", ["job.yaml", "environment.json", "manifest.json"])
def test_settings_that_were_changed_or_lost_are_named(done, copy_of, rows, name):
    file = copy_of / name
    file.write_text(file.read_text() + " \n")
    with pytest.raises(ResumeError, match=rf"{name.replace('.', '[.]')} was changed"):
        run(done[1], data=rows, resume=copy_of)
    file.unlink()
    with pytest.raises(ResumeError, match=name.replace(".", "[.]")):
        run(done[1], data=rows, resume=copy_of)


def test_a_list_of_hashes_that_is_lost_is_named(done, copy_of, rows):
    (copy_of / "hashes.json").unlink()
    with pytest.raises(ResumeError, match=r"hashes[.]json, the list of hashes that the run wrote, is missing"):
        run(done[1], data=rows, resume=copy_of)


def test_what_a_client_keeps_is_checked(done, copy_of, rows):
    file = copy_of / "clients" / "client-01" / "state-000002.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-4] + b"\0\0\0\1")
    with pytest.raises(ResumeError, match=r"client-01 keeps between rounds, was changed or damaged"):
        run(done[1], data=rows, resume=copy_of)
    file.unlink()
    with pytest.raises(ResumeError, match="is missing"):
        run(done[1], data=rows, resume=copy_of)
    file.write_bytes(whole)
    run(done[1], data=rows, resume=copy_of)
    assert_same_adapter(done[0], copy_of)


def test_checkpoints_that_are_gone_are_no_new_start(done, copy_of, rows):
    shutil.rmtree(copy_of / "checkpoint")
    with pytest.raises(ResumeError, match="checkpoints are gone"):
        run(done[1], data=rows, resume=copy_of)


LOCK_ALONE = """
import importlib.util, fedtailor, types
package = types.ModuleType("fedtailor.running"); package.__path__ = [fedtailor.__path__[0] + "/running"]
sys.modules["fedtailor.running"] = package  # its own __init__ takes seconds
from fedtailor.running.lock import FolderLock
"""

HOLD = """
import sys, time
from pathlib import Path
from fedtailor.running.lock import FolderLock
with FolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_lets_go(done, copy_of, rows):
    code = HOLD.replace("from fedtailor.running.lock import FolderLock", LOCK_ALONE)
    with subprocess.Popen([sys.executable, "-c", code, str(copy_of)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ResumeError, match=f"is in use: process {other.pid} on "):
            run(done[1], data=rows, resume=copy_of)
        other.send_signal(signal.SIGKILL)
    with FolderLock(copy_of, wait_s=5.0):
        pass


def test_a_folder_that_moves_away_ends_the_run_by_name(done, copy_of, rows):
    def move(kind, facts):
        if kind == "round":
            copy_of.rename(copy_of.with_name("elsewhere"))

    job = done[1].replace("stop.rounds", 4)
    with pytest.raises(StorageError, match="it was moved, deleted or replaced"):
        run(job, data=rows, resume=copy_of, watcher=move)
    assert not copy_of.exists()
    assert run(job, data=rows, resume=copy_of.with_name("elsewhere")).summary["rounds"] == 4


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE")
def test_a_disk_that_is_full_is_named(done, copy_of, rows):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot be written: .*(beyond what the system permits|disk is full)"):
            run(done[1].replace("stop.rounds", 3), data=rows, resume=copy_of)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert run(done[1].replace("stop.rounds", 3), data=rows, resume=copy_of).summary["rounds"] == 3


def test_what_the_server_makes_of_updates_must_be_finite(make_job, rows, tmp_path, monkeypatch):
    from fedtailor.aggregation import FedAvg

    combine = FedAvg.combine

    def infinite(*args):
        found = combine(*args)
        return replace(found, shared={name: value * math.inf for name, value in found.shared.items()})

    monkeypatch.setattr(FedAvg, "combine", infinite)
    with pytest.raises(RunError, match="every update was finite, and what the server made of them is not"):
        run(make_job(stop__rounds=1), data=rows, out=tmp_path / "r")


def test_a_process_that_was_killed_between_two_files_of_settings_leaves_a_run_that_can_be_resumed(done, copy_of, rows, tmp_path):
    folder = tmp_path / "begun"
    folder.mkdir()
    shutil.copy(copy_of / "job.yaml", folder)
    sealed = json.loads((copy_of / "hashes.json").read_text())
    begun = {name: ["", *sealed[name]] for name in ("job.yaml", "environment.json", "manifest.json")}
    (folder / "hashes.json").write_text(json.dumps(begun))
    run(done[1], data=rows, resume=folder)
    assert_same_adapter(done[0], folder)
    assert "" not in json.loads((folder / "hashes.json").read_text())["manifest.json"]
