"""Every demonstration is a job that holds; each was run by hand, see docs/results.md."""

import shutil
from importlib.resources import files

import pandas as pd
import pytest

from fedtailor.cli.demo import prepared
from fedtailor.cli.demos import DEMOS, digits
from fedtailor.job import Job


def test_list_has_all_and_each_has_its_job(fedtailor):
    printed = fedtailor("demo", "--list")[1]
    assert [name for name in DEMOS if name not in printed] == []
    jobs = {file.name.removesuffix(".yaml") for file in files("fedtailor.cli.demos").iterdir() if file.name.endswith(".yaml")}
    assert jobs == set(DEMOS)


def test_another_name_is_refused(fedtailor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, printed, said = fedtailor("demo", "spilt")
    assert (code, printed) == (2, "")
    assert "did you mean split?" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [name for name, demo in DEMOS.items() if demo.prepare is None])
def test_its_job_is_one_that_can_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = prepared(name, DEMOS[name], ["threads=1"])
    assert job.base == tmp_path
    assert job.data.train == "docstrings"
    assert job.name == ("demo" if name == "main" else f"demo-{name}")


def test_data_are_made_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = prepared("retrieval", DEMOS["retrieval"], [])
    passages, asked = (pd.read_json(job.base / f"{name}.jsonl", lines=True) for name in ("passages", "questions"))
    assert set(asked["passage_id"]) <= set(passages["id"])
    assert list(passages["title"].unique()) == ["numpy", "pandas", "scipy", "sklearn"]
    shutil.copy(job.base / "questions.jsonl", job.base / "passages.jsonl")  # an earlier one is used as it is
    assert "question" in pd.read_json(prepared("retrieval", DEMOS["retrieval"], []).base / "passages.jsonl", lines=True)


def test_digits_are_parted_by_who_may_see_them(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "PICTURES", 120)
    monkeypatch.setattr(digits, "STEPS", 1)
    monkeypatch.setattr(digits, "BATCH", 2)
    digits.write(tmp_path)
    labels = {part: sorted(path.name for path in (tmp_path / part).iterdir()) for part in ("public", "private", "test")}
    assert (labels["public"], labels["private"]) == (list("01234"), list("56789"))
    assert set(labels["test"]) <= set("56789")
    assert len(list(tmp_path.rglob("*.png"))) == 120
    job = Job.load(files("fedtailor.cli.demos").joinpath("images.yaml"), []).replace("base", str(tmp_path))
    assert job.task.labels_of((), tmp_path) == tuple("0123456789")
