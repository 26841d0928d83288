"""Trackers get the figures of the run's tables; one that fails is named once, and the run continues."""

import importlib
import importlib.util
import struct
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest

import fedtailor
from fedtailor.errors import SettingError
from fedtailor.running import run
from fedtailor.tracking import NAMES, Trackers, check_trackers, trackers
from fedtailor.tracking.trackers import figures_in

ROUND = {"round": 2, "train_loss": 2.5, "up_bytes": 100, "down_bytes": 90, "bias": 0.1, "test_loss": 9.0, "epsilon": None}
EVALUATED = {"round": 2, "figures": {"loss": 2.0, "bleu": 3.0, "examples": 74.0}, "validation_loss": float("nan")}


class Kept:
    """A tracker that keeps what it gets."""

    def __init__(self, fails_at=""):
        self.figures, self.settings, self.fails_at = {}, {}, fails_at

    def begin(self, name, settings, folder):
        self.settings = settings

    def log(self, figures, round):
        if self.fails_at in figures:
            raise ConnectionError("no route to host")
        self.figures |= {(name, round): value for name, value in figures.items()}

    def end(self):
        self.figures["end"] = True


def with_kept(monkeypatch, **kept):
    for name, tracker in kept.items():
        monkeypatch.setitem(trackers.PACKAGES, name, ("json", name, lambda tracker=tracker: tracker))


def test_figures_have_names_that_trackers_group_by():
    assert figures_in("round", ROUND) == (
        2,
        {"train/loss": 2.5, "traffic/up_bytes": 100.0, "traffic/down_bytes": 90.0, "averaging/bias": 0.1},
    )
    assert figures_in("evaluated", EVALUATED) == (2, {"test/loss": 2.0, "test/bleu": 3.0})
    assert figures_in("failure", {"client": "a", "round": 2}) == (0, {})


def test_each_figure_is_handed_on_once_and_one_that_fails_is_named_once(monkeypatch, tmp_path):
    good, bad = Kept(), Kept(fails_at="test/bleu")
    with_kept(monkeypatch, tensorboard=good, mlflow=bad)
    all_of_them = Trackers(["tensorboard", "mlflow"], {"tuning": {"rank": 8}}, tmp_path)
    assert all_of_them.see("start", {}) == []
    assert good.settings == {"tuning.rank": 8}
    assert all_of_them.see("evaluated", EVALUATED) == [
        "mlflow gets no more figures, as it failed: ConnectionError: no route to host"
    ]
    assert all_of_them.see("evaluated", {**EVALUATED, "figures": {"loss": 7.0}}) == []
    assert all_of_them.see("round", ROUND) == []
    assert all_of_them.see("done", {}) == []
    assert good.figures[("test/loss", 2)] == 2.0
    assert good.figures[("train/loss", 2)] == 2.5
    assert good.figures["end"]
    assert bad.figures == {}


def test_a_tracker_that_is_not_installed_is_named_before_anything_is_done(monkeypatch, make_job, rows, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match="report_to needs mlflow-skinny and wandb, not installed here: pip install"):
        check_trackers(["mlflow", "wandb"])
    with pytest.raises(SettingError, match="tensorboardX"):
        run(make_job(report_to=["tensorboard"]), data=rows, out=tmp_path / "r")
    assert not (tmp_path / "r").exists() or not any((tmp_path / "r").glob("*.parquet"))


def test_a_run_continues_without_a_tracker_that_fails(monkeypatch, make_job, rows, tmp_path):
    with_kept(monkeypatch, wandb=Kept(fails_at="train/loss"))
    seen = []
    result = run(
        make_job(report_to=["wandb"], stop__rounds=2), data=rows, out=tmp_path / "r", watcher=lambda *event: seen.append(event)
    )
    assert result.summary["rounds"] == 2
    texts = [facts["text"] for kind, facts in seen if kind == "warning" and "wandb" in facts["text"]]
    assert texts == ["wandb gets no more figures, as it failed: ConnectionError: no route to host"]


def test_only_the_server_tracks():
    root = Path(fedtailor.__file__).parent
    using = {str(file.relative_to(root)) for file in root.rglob("*.py") if "Trackers(" in file.read_text()}
    assert using == {"running/drive.py"}
    assert NAMES == ("tensorboard", "mlflow", "wandb", "trackio")


def scalars(folder):
    """Return the scalars in TensorBoard's event files, by name and step."""
    from tensorboardX.proto.event_pb2 import Event

    found = defaultdict(dict)
    for file in folder.glob("events.out.tfevents.*"):
        data = file.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            for value in event.summary.value:
                found[value.tag][event.step] = value.simple_value
    return found


@pytest.mark.trackers
def test_tensorboard_has_the_figures_of_the_tables(make_job, rows, tmp_path):
    pytest.importorskip("tensorboardX")
    folder = run(make_job(report_to=["tensorboard"], stop__rounds=2), data=rows, out=tmp_path / "r").folder
    found = scalars(folder / "tensorboard")
    table = pd.read_parquet(folder / "rounds.parquet").set_index("round")
    for name, column in (("train/loss", "train_loss"), ("validation/loss", "validation_loss"), ("traffic/up_bytes", "up_bytes")):
        told = {round: value for round, value in found[name].items() if round}
        assert told == pytest.approx(table[column].to_dict(), rel=1e-6), name
    assert found["test/loss"].keys() >= {0, 1, 2}


@pytest.mark.trackers
@pytest.mark.parametrize("name", ["mlflow", "wandb", "trackio"])
def test_others_take_a_run_offline(name, make_job, rows, tmp_path, monkeypatch):
    pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    for variable, value in {
        "WANDB_MODE": "offline",
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_TRACKING_URI": f"file:{tmp_path}/mlruns",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
    }.items():
        monkeypatch.setenv(variable, value)
    folder = run(make_job(report_to=[name], stop__rounds=2), data=rows, out=tmp_path / "r").folder
    assert "as it failed" not in (folder / "events.jsonl").read_text()
    table = pd.read_parquet(folder / "rounds.parquet").set_index("round")["train_loss"].to_dict()
    if name == "mlflow":
        lines = next((tmp_path / "mlruns").rglob("train/loss")).read_text().splitlines()
        assert {int(line.split()[2]): float(line.split()[1]) for line in lines} == pytest.approx(table)
