"""What is no run's folder, or a damaged one, given to every command that takes a run: one paragraph that names it, exit 2."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest
import uvicorn
from jobs import tiny_job, tiny_rows

from fedtailor.running import run
from fedtailor.yaml_text import write_yaml

SOME = 4  # damaged runs, each given to the quick commands; the marker `large` gives all to every command


@pytest.fixture(autouse=True)
def nothing_is_served(monkeypatch):
    """Have `watch` end at once."""
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: [each.close() for each in sockets])


@pytest.fixture(scope="module")
def home(tiny_backbone_folder, tmp_path_factory):
    """Return a folder with a finished run in `done`, its job in `job.yaml`, and much that is no run."""
    home = tmp_path_factory.mktemp("home")
    (home / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny_rows()))
    job = tiny_job(tiny_backbone_folder, stop__rounds=1, evaluation__metrics=["loss"], data__train=str(home / "train.jsonl"))
    settings = job.to_dict()
    del settings["base"]
    (home / "job.yaml").write_text(write_yaml(settings))
    run(job, out=home / "done")
    (home / "empty").mkdir()
    (home / "documents").mkdir()
    (home / "documents" / "a.txt").write_text("x")
    (home / "a file").write_text("x")
    os.mkfifo(home / "pipe")
    (home / "loop").symlink_to(home / "loop")
    (home / "dangling").symlink_to(home / "nowhere")
    for name, mark in {
        "swept": {"cells": ["a"], "settings": {"seed": [0]}},
        "list": [],
        "nothing": {},
        "odd": {"cells": [5]},
    }.items():
        (home / f"sweep {name}").mkdir()
        (home / f"sweep {name}" / "sweep.json").write_text(json.dumps(mark))
    (home / "sweep cut").mkdir()
    (home / "sweep cut" / "sweep.json").write_text('{"ce')
    for name in ("summary.json", "events.jsonl"):
        (home / f"only {name}").mkdir()
        shutil.copy(home / "done" / name, home / f"only {name}")
    (home / "only summary.json" / "summary.json").write_text("{}")
    (home / "\x1b[31mred\n").mkdir()
    return home


NO_RUNS = {
    "missing": "there is nothing of that name",
    "a file/x": "there is nothing of that name",
    "x" * 300: "",
    "empty": "it is an empty folder",
    "documents": "neither job.yaml nor summary.json",
    "a file": "it is a file",
    "pipe": "it is a named pipe",
    "loop": "a link that leads nowhere",
    "dangling": "a link that leads nowhere",
    **dict.fromkeys(("sweep swept", "sweep list", "sweep nothing", "sweep odd", "sweep cut"), "sweep"),
    "only summary.json": "",
    "only events.jsonl": "",
    "\x1b[31mred\n": "",
    os.fsdecode(b"\xff\xfe"): "",
}


def commands(place: Path, home: Path, out: Path) -> dict[str, list[object]]:
    """Return every command that takes a run."""
    return {
        "show": ["show", place],
        "show --json": ["show", place, "--json"],
        "report": ["report", place],
        "report of two": ["report", home / "done", place, "--out", out.with_suffix(".html")],
        "watch": ["watch", place, "--until-end"],
        "diagnose": ["diagnose", place],
        "diagnose of two": ["diagnose", home / "done", place, "--json"],
        "compare": ["compare", home / "done", place, "--target", "loss=1"],
        "try": ["try", place, "x"],
        "export": ["export", place, out],
        "audit": ["audit", place],
        "resume": ["run", "--resume", place, "stop.rounds=2"],
        "collect": ["advise", home / "job.yaml", "--collect", place, "--evidence", out.with_suffix(".parquet")],
    }


def fault(said: tuple[int, str, str], word: str = "", *, may_work: bool = False) -> str:
    """Return what is wrong with how a command ended; empty if nothing is."""
    code, printed, complaint = said
    if code == 0 and may_work:
        return ""
    complaints = [line for line in complaint.splitlines() if line.startswith("error")]
    if code != 2 or printed.strip() or len(complaints) != 1 or not complaint.rstrip("\n").endswith(complaints[-1]):
        return f"exit {code}: {printed[:80]} {complaint[:300]}"
    if any(bad in complaint for bad in ("did not foresee", "not on the list", "Traceback")):
        return complaint[:300]
    return "" if word in complaint else f"does not say {word!r}: {complaint[:300]}"


@pytest.mark.parametrize("name", NO_RUNS, ids=ascii)
def test_what_is_no_run(fedtailor, home, tmp_path, name):
    may_work = {"only events.jsonl": ("watch", "diagnose", "diagnose of two")}.get(name, ())
    found = {}
    for command, words in commands(home / name, home, tmp_path / "out").items():
        word = "" if command in ("collect", "report of two") or "sweep" in name else NO_RUNS[name]
        found[command] = fault(fedtailor(*words), word, may_work=command in may_work)
    assert {command: text for command, text in found.items() if text} == {}


@pytest.mark.parametrize("name", ["loop", "dangling", "a file", "pipe", "documents"])
def test_what_is_no_place_for_a_run(fedtailor, home, name):
    assert fault(fedtailor("run", home / "job.yaml", "--out", home / name)) == ""
    assert fault(fedtailor("sweep", home / "job.yaml", "seed=0,1", "--out", home / name)) == ""


FILES = (
    "summary.json", "job.yaml", "environment.json", "rounds.parquet", "clients.parquet", "evaluations.parquet", "partition.parquet", "events.jsonl",
    "adapter/adapter_config.json", "adapter/adapter_model.safetensors", "hashes.json", "checkpoint",
)  # fmt: skip
WAYS = ("gone", "empty", "cut", "null", "a list", "no text", "a pipe", "a folder")
DAMAGED = [(file, way, sealed) for file in FILES for way in WAYS for sealed in (True, False) if sealed or file != "hashes.json"]


def damage(folder: Path, file: str, way: str, *, sealed: bool) -> None:
    """Damage one file of a run; one that is not sealed is as those of earlier versions, so that its readers see the damage themselves."""
    if not sealed:
        (folder / "hashes.json").unlink()
        environment = json.loads((folder / "environment.json").read_text())
        (folder / "environment.json").write_text(json.dumps({k: v for k, v in environment.items() if k != "sealed"}))
    target = folder / file
    content = target.read_bytes() if target.is_file() else b""
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    if way == "a pipe":
        os.mkfifo(target)
    elif way == "a folder":
        target.mkdir()
    elif way != "gone":
        written = {
            "empty": b"",
            "cut": content[: len(content) // 2],
            "null": b"null",
            "a list": b"[1, 2]",
            "no text": b"\xff\xfe\0\x1b[31m",
        }
        target.write_bytes(written[way])


HEAVY = (
    "report",
    "report of two",
    "diagnose of two",
    "try",
    "export",
    "audit",
    "collect",
)  # those that load much; the marker runs them too


def faults_of_damaged(fedtailor, home, tmp_path, chosen, *, but=()) -> list[str]:
    found = []
    for number, (file, way, sealed) in enumerate(chosen):
        place = tmp_path / f"{number}"
        shutil.copytree(home / "done", place)
        damage(place, file, way, sealed=sealed)
        for command, words in commands(place, home, tmp_path / f"out-{number}").items():
            if command not in but and (text := fault(fedtailor(*words), may_work=True)):
                found.append(f"{command} after {file} {way}, {'sealed' if sealed else 'not sealed'}: {text}")
        shutil.rmtree(place)
    return found


def test_some_damaged_runs(fedtailor, home, tmp_path):
    assert faults_of_damaged(fedtailor, home, tmp_path, random.Random(0).sample(DAMAGED, SOME), but=HEAVY) == []


@pytest.mark.large
def test_every_damaged_run(fedtailor, home, tmp_path):
    assert faults_of_damaged(fedtailor, home, tmp_path, DAMAGED) == []


def test_weights_that_were_changed_since_are_used_by_no_command(fedtailor, home, tmp_path):
    place = shutil.copytree(home / "done", tmp_path / "changed")
    weights = place / "adapter" / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # still a file that can be loaded
    weights.write_bytes(content)
    for command in ("try", "export", "audit"):
        assert fault(fedtailor(*commands(place, home, tmp_path / "out")[command]), f"{weights} was changed") == "", command


def test_a_folder_in_the_place_of_a_table_is_named_before_anything_is_trained(fedtailor, home, tmp_path):
    place = shutil.copytree(home / "done", tmp_path / "hurt")
    damage(place, "clients.parquet", "a folder", sealed=True)
    code, _, complaint = fedtailor("run", "--resume", place, "stop.rounds=2")
    assert (code, complaint.count("\n")) == (2, 1)
    assert "clients.parquet is a folder" in complaint
