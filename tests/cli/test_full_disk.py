"""Whatever cannot be written is named with its cause, ends in exit 2, and leaves nothing behind that passes for whole."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from full_disk import FAULTS, Disk
from jobs import assert_same_adapter
from prompted import place_rows, prompting_job

from fedtailor.network.kit.kits import kit_role

needs_engine = pytest.mark.skipif(find_spec("nvflare") is None, reason="NVFlare is not installed: pip install 'fedtailor[net]'")

SMALL = ("protocol.local.steps=1", "stop.rounds=1", "protocol.local.keep_optimizer=true", "evaluation.metrics=[loss,bleu]")


MANY = 24  # writes, spread over all


@pytest.fixture(params=["some", pytest.param("many", marks=pytest.mark.attack), pytest.param("each", marks=pytest.mark.large)])
def sweep(fedtailor, monkeypatch, tmp_path, request):
    """Return a way to let writes of a command fail, one at a time: a few of them, many, or each."""

    def over(words, clean, after, *, few=5, ends=(2,), only=lambda write: True):
        with Disk(tmp_path).failing(monkeypatch) as disk:
            code, _, said = fedtailor(*words)
        assert code == 0, said
        clean()
        places = [place for place, write in enumerate(disk.writes) if only(write)]
        count = len(places)
        assert count
        reached = 0
        tried = {"some": few, "many": MANY, "each": count}[request.param]
        for at in places[:: -max(1, count // tried)]:
            with Disk(tmp_path, at, FAULTS[at % len(FAULTS)]).failing(monkeypatch) as failing:
                code, printed, said = fedtailor(*words)
            where = f"{failing.writes[at : at + 1]} ({at} of {count}): exit {code}: {said}{printed}"
            assert code in (0, *ends), where
            assert "foresee" not in said, where
            assert "Traceback" not in said + printed, where
            if len(failing.writes) <= at:  # a shorter run: what the first one kept in the cache is not written again
                assert code == 0, where
                clean()
                continue
            reached += 1
            if code == 2:
                assert said.count("error  ") == 1, where
                assert any(part in said for part in (str(tmp_path), tmp_path.name)), where
            after(code, where)
            clean()
        assert reached

    return over


@pytest.fixture
def done(fedtailor, write_job, tmp_path):
    """Return the folder of a run that has ended."""
    assert fedtailor("run", write_job(), *SMALL, "--out", tmp_path / "done")[0] == 0
    return tmp_path / "done"


def gone(*folders: Path):
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def test_run(fedtailor, write_job, tmp_path, sweep, done):
    job, out = write_job(), tmp_path / "out"

    def after(code, where):
        if code == 2:
            again = ["--resume", out] if (out / "job.yaml").exists() else [job, *SMALL, "--out", out]
            code, _, said = fedtailor("run", *again)
            assert code == 0, f"{where}\nthen: {said}"
        assert_same_adapter(done, out)
        assert json.loads((out / "summary.json").read_text())["rounds"] == 1, where

    sweep(["run", job, *SMALL, "--out", out], lambda: gone(out), after)


def test_sweep(fedtailor, write_job, tmp_path, sweep):
    """The same command again finishes what is missing; what is written in cells is what a run writes."""
    job, out = write_job(evaluation={"metrics": ["loss"]}), tmp_path / "swept"
    words = ["sweep", job, *SMALL[:2], "tuning.rank=1,2", "--out", out]

    def after(code, where):
        assert code == 2 or "1 cell of 2 failed" in where, where
        code, _, said = fedtailor(*words)
        assert code == 0, f"{where}\nthen: {said}"
        assert len(pd.read_parquet(out / "table.parquet")) == 2, where
        assert {path.suffix for path in out.glob("sweep.*")} == {".json", ".png", ".svg"}, where

    sweep(words, lambda: gone(out), after, few=3, ends=(1, 2), only=lambda write: "cells/tuning" not in write)


def test_recipe_run(fedtailor, tmp_path, sweep, tiny_backbone_folder):
    folder, out = tmp_path / "data" / "e2e", tmp_path / "out"
    folder.mkdir(parents=True)
    for part, count in (("train", 40), ("validation", 4), ("test", 4)):
        rows = [{"input": f"name[{part} {i}]", "target": f"{part} {i} is a pub."} for i in range(count)]
        pd.DataFrame(rows).to_parquet(folder / f"{part}.parquet")
    changes = [f"backbone={tiny_backbone_folder}", "stop.rounds=1", "clients.count=2", "evaluation.metrics=[loss]", "threads=1"]
    words = ["recipe", "run", "fpt-e2e", "--data", folder.parent, *changes, "protocol.local={steps: 1}", "--out", out]

    def after(code, where):
        if code == 2:
            again = ["run", "--resume", out] if (out / "job.yaml").exists() else words
            code, _, said = fedtailor(*again)
            assert code == 0, f"{where}\nthen: {said}"
        assert json.loads((out / "summary.json").read_text())["rounds"] == 1, where

    sweep(words, lambda: gone(out), after, few=2)


@pytest.mark.parametrize("form", ["merged", "peft"])
def test_export(tmp_path, sweep, done, form):
    out = tmp_path / "exported"

    def after(code, where):
        assert code == 2, where
        assert not out.exists(), where

    sweep(["export", done, out, "--to", form], lambda: gone(out), after, few=3)


def test_a_search_for_a_prompt_and_its_export(fedtailor, tmp_path, sweep, tiny_backbone_folder):
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in place_rows()))
    job, out, place = tmp_path / "search.yaml", tmp_path / "out", tmp_path / "exported"
    job.write_text(prompting_job(tiny_backbone_folder, data__train=str(tmp_path / "train.jsonl")).to_yaml())
    assert fedtailor("run", job, "--out", tmp_path / "done")[0] == 0
    want = (tmp_path / "done" / "prompt" / "prompt.json").read_bytes()

    def after(code, where):
        if code == 2:
            again = ["--resume", out] if (out / "job.yaml").exists() else [job, "--out", out]
            code, _, said = fedtailor("run", *again)
            assert code == 0, f"{where}\nthen: {said}"
        assert (out / "prompt" / "prompt.json").read_bytes() == want, where

    sweep(["run", job, "--out", out], lambda: gone(out), after, few=3)

    def none(code, where):
        assert code == 2, where
        assert not place.exists(), where

    sweep(["export", tmp_path / "done", place], lambda: gone(place), none, few=3)


@needs_engine
def test_kits_of_a_network(fedtailor, tmp_path, sweep):
    file, out = tmp_path / "net.yaml", tmp_path / "net"
    file.write_text("{server: localhost, sites: [north]}")

    def after(code, where):
        assert code == 2, where
        code, _, said = fedtailor("net", "init", file, "--out", out)
        assert code == 0, f"{where}\nthen: {said}"
        for kit in ("server", "admin", "north"):
            assert kit_role(out / kit)["kit"] == kit, where
            assert (out / kit).stat().st_mode & 0o077 == 0, where

    sweep(["net", "init", file, "--out", out], lambda: gone(out), after, few=2)


def test_report_and_other_single_files(tmp_path, sweep, done, fedtailor):
    page = done / "report.html"

    def after(code, where):
        assert code == 2, where
        assert not page.exists(), where

    sweep(["report", done], lambda: page.unlink(missing_ok=True), after)
    for words in (["init"], ["schema"]):
        file = tmp_path / "new.yaml"

        def nothing(code, where, file=file):
            assert code == 2, where
            assert not file.exists(), where

        sweep([*words, file], lambda file=file: file.unlink(missing_ok=True), nothing)


def test_check_writes_into_the_cache_alone_and_needs_none(tmp_path, sweep, write_job, monkeypatch):
    monkeypatch.setenv("FEDTAILOR_CACHE", str(tmp_path / "cache"))

    def after(code, where):
        assert code == 0, where

    sweep(["check", write_job()], lambda: gone(tmp_path / "cache"), after)


def test_index(tmp_path, sweep, fedtailor):
    (tmp_path / "notes").mkdir()
    for number in range(3):
        (tmp_path / "notes" / f"{number}.txt").write_text(f"Note {number}: the inn by the river is number {number}.")
    index = tmp_path / "index"

    def after(code, where):
        if code == 2 and index.exists():
            again, _, said = fedtailor("rag", "index", tmp_path / "notes", "--out", index)
            assert again == 0, f"{where}\nthen: {said}"

    sweep(["rag", "index", tmp_path / "notes", "--out", index], lambda: gone(index), after)
