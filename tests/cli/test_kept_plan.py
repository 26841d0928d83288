"""A second check prints what the first found, without reading data or model, and never what is not so any more."""

import json
import os
import subprocess
import sys

import pytest

import fedtailor.assembly
from fedtailor.cli import kept_plan
from fedtailor.cli.kept_plan import Lookup
from fedtailor.job import own_classes
from fedtailor.user_cache import plan_folder


@pytest.fixture
def looks(monkeypatch):
    """Return a list that grows by one with each job that is assembled."""
    found, assemble = [], fedtailor.assembly.assemble

    def counted(*given, **named):
        found.append(1)
        return assemble(*given, **named)

    monkeypatch.setattr(fedtailor.assembly, "assemble", counted)
    monkeypatch.setattr(own_classes, "_IMPORTED", {})
    return found


def test_the_second_look_prints_the_same_and_reads_nothing(fedtailor, write_job, looks):
    job = write_job()
    first = fedtailor("check", job)
    assert fedtailor("check", job)[:2] == first[:2]
    assert len(looks) == 1
    (entry,) = plan_folder().glob("*")
    assert plan_folder().stat().st_mode & 0o777 == 0o700
    assert entry.stat().st_mode & 0o077 == 0
    assert "1 findings of check" in fedtailor("cache", "list")[1]
    fedtailor("cache", "clear")
    assert not entry.exists()
    fedtailor("check", job)
    assert len(looks) == 2


@pytest.fixture
def own_job(write_job, tmp_path, tiny_backbone_folder):
    """Return a job whose backbone lies beside it, and another file with the rows of its data."""
    (tmp_path / "backbone").mkdir()
    for file in tiny_backbone_folder.iterdir():
        (tmp_path / "backbone" / file.name).write_bytes(file.read_bytes())
    job = write_job(backbone="backbone")
    (tmp_path / "same.jsonl").write_bytes((tmp_path / "train.jsonl").read_bytes())
    return job


def changed(file, _):
    file.write_bytes(file.read_bytes() + b"\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder, patch: changed(folder / "train.jsonl", patch),
        lambda folder, patch: changed(folder / "job.yaml", patch),
        lambda folder, patch: changed(folder / "backbone" / "tokenizer.json", patch),
        lambda folder, patch: (folder / "backbone" / "chat_template.jinja").write_text("{{ messages }}"),
        lambda folder, patch: os.replace(folder / "same.jsonl", folder / "train.jsonl"),
        lambda folder, patch: patch.setattr(kept_plan, "today", lambda: "tomorrow"),
        lambda folder, patch: patch.setattr(kept_plan, "_names", lambda folder: ["torch-99.dist-info"]),
        lambda folder, patch: patch.setenv("CUDA_VISIBLE_DEVICES", "7"),
        lambda folder, patch: [path.write_bytes(path.read_bytes()[:-30]) for path in plan_folder().glob("*")],
        lambda folder, patch: [path.write_text("[]") for path in plan_folder().glob("*")],
        lambda folder, patch: [
            path.write_text(path.read_text().replace("client", "clients")) for path in plan_folder().glob("*")
        ],
    ],
    ids="data,job,tokenizer,template,replaced,day,version,device,cut,strange,edited".split(","),
)
def test_what_it_follows_from_has_changed(fedtailor, own_job, looks, monkeypatch, change):
    first = fedtailor("check", own_job)
    change(own_job.parent, monkeypatch)
    second = fedtailor("check", own_job)
    assert (len(looks), first[0], second[0]) == (2, 0, 0)
    fedtailor("check", own_job)
    assert len(looks) == 2


def test_other_settings_are_another_look_and_the_setting_switches_it_off(fedtailor, write_job, looks):
    job = write_job()
    for words in ([], ["tuning.rank=4"], ["tuning.rank=5"]):
        fedtailor("check", job, *words)
    assert len(looks) == len(list(plan_folder().glob("*"))) == 3
    for _ in range(2):
        fedtailor("check", job, "data.cache=false")
    assert len(looks) == 5
    assert len(list(plan_folder().glob("*"))) == 3


def test_a_job_with_a_class_of_ones_own_is_read_again(fedtailor, write_job, looks, monkeypatch):
    job = write_job()
    monkeypatch.setattr(own_classes, "_IMPORTED", {object: "mine:Class"})
    for _ in range(2):
        fedtailor("check", job)
    assert len(looks) == 2


def test_a_file_that_changes_during_the_look_is_not_kept(write_job, looks, tmp_path):
    from fedtailor.cli.check import plan_of
    from fedtailor.job import Job

    file = write_job()
    lookup, job = Lookup.of(file, []), Job.load(file)
    behind = lookup.behind(job)
    plan = plan_of(job, fedtailor.assembly.assemble(job), [])
    with (tmp_path / "train.jsonl").open("a") as data:
        data.write(json.dumps({"question": "and", "answer": "so", "who": "a"}) + "\n")
    lookup.keep(plan, behind, [])
    assert not plan_folder().exists()


def test_a_cache_that_cannot_be_written_costs_nothing(fedtailor, write_job, looks, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("a file in the place of the folder")
    monkeypatch.setenv("FEDTAILOR_CACHE", str(tmp_path / "file"))
    assert [fedtailor("check", write_job())[0] for _ in range(2)] == [0, 0]


def test_a_kept_look_needs_no_torch():
    code = (
        "import sys\nfrom pathlib import Path\nfrom fedtailor.cli.check import rendered\nfrom fedtailor.cli.kept_plan import Lookup\n"
        "Lookup.of(Path('no.yaml'), []).kept()\nprint({'torch', 'transformers', 'pandas', 'pydantic'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
