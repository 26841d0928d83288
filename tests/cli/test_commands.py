import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedtailor.job import Job
from fedtailor.running import Result


def test_help_answers_without_loading_models():
    code = "import sys; from fedtailor.cli.main import make_app; make_app(); print([n for n in ('torch', 'transformers', 'pandas', 'pydantic') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_init_writes_a_job_that_loads_and_never_replaces_one(fedtailor, tmp_path):
    file = tmp_path / "job.yaml"
    assert fedtailor("init", file)[0] == 0
    assert Job.load(file).name == "example"
    code, _, said = fedtailor("init", file)
    assert code == 2
    assert "exists already" in said
    assert fedtailor("init", file, "--force")[0] == 0
    assert fedtailor("init", tmp_path / "no" / "job.yaml")[0] == 2


def test_schema_is_json(fedtailor, tmp_path):
    code, printed, _ = fedtailor("schema")
    assert code == 0
    assert json.loads(printed) == Job.schema()
    assert fedtailor("schema", tmp_path / "schema.json")[0] == 0
    assert json.loads((tmp_path / "schema.json").read_text()) == Job.schema()


def test_version_and_usage(fedtailor):
    assert fedtailor("--version")[1].startswith("fedtailor 0.")
    assert fedtailor("rnu")[0] == 2
    assert fedtailor("run")[0] == 2


def test_run_then_show_compare_try_export(fedtailor, write_job, tmp_path):
    job, one, two = write_job(), tmp_path / "one", tmp_path / "two"
    code, printed, said = fedtailor("run", job, "--out", one)
    assert code == 0
    assert "round 2 of 2" in said
    assert "before → after" in printed
    assert "10th percentile" in printed
    code, printed, said = fedtailor("run", job, "stop.rounds=1", "tuning.rank=2", "--out", two, "--json")
    assert code == 0
    assert [line for line in said.splitlines() if not line.endswith("…")] == []  # a slow machine says what it waits for
    assert json.loads(printed) == json.loads((two / "summary.json").read_text())
    shown = fedtailor("show", one)[1]
    up = json.loads((one / "summary.json").read_text())["traffic"]["up_bytes"]
    assert f"({up:,} bytes)" in shown
    assert json.loads(fedtailor("show", one, "--json")[1])["rounds"] == 2
    compared = fedtailor("compare", one, two)[1]
    assert next(row for row in compared.splitlines() if "tuning.rank" in row).split() == ["tuning.rank", "8", "2"]
    tried = fedtailor("try", one, "what is 3 plus 4?")[1]
    assert "before" in tried
    assert "after" in tried
    assert fedtailor("export", one, tmp_path / "model", "--to", "merged")[0] == 0
    assert (tmp_path / "model" / "README.md").exists()


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        (["personalization=fedsa-lora"], "adapter"),
        (["personalization.kind=fedper", "personalization.home=[model.norm.weight]", "tuning=full"], "model"),
        (["personalization=feddpa"], "adapter"),
        (["personalization=fedalt"], "adapter"),
        (["personalization=ditto"], None),
        ([], None),
    ],
    ids=lambda value: value[0].split("=")[-1] if value and isinstance(value, list) else None,
)
def test_a_shared_part_is_named_for_what_it_is(fedtailor, write_job, tmp_path, changes, place):
    folder, out = tmp_path / "one", tmp_path / "out"
    assert fedtailor("run", write_job(), "stop.rounds=1", *changes, "--out", folder, "--json")[0] == 0
    shown = " ".join(fedtailor("show", folder)[1].split())
    code, exported, _ = fedtailor("export", folder, out, "--to", "merged" if "tuning=full" in changes else "peft")
    assert code == 0
    card = (out / "README.md").read_text()
    for text in (shown, exported, card):
        assert text.count("This is the shared part alone, which by itself may be no better than the backbone") == (
            place is not None
        )
        assert place is None or f"each client's own weights, with it, are in clients/ID/{place} of the run." in text
    if place:
        assert len(list(folder.glob(f"clients/*/{place}"))) == 3


def test_resume_names_what_differs(fedtailor, write_job, tmp_path):
    job, out = write_job(), tmp_path / "out"
    assert fedtailor("run", job, "stop.rounds=1", "--out", out, "--json")[0] == 0
    code, _, said = fedtailor("run", job, "tuning.rank=2", "--resume", out)
    assert code == 2
    assert "tuning.rank" in said
    assert fedtailor("run", job, "stop.rounds=2", "--resume", out, "--json")[0] == 0
    code, _, said = fedtailor("run", job, "--resume", out, "--baseline", "central")
    assert code == 2
    assert "--baseline" in said


def test_run_folder_in_use_is_refused(fedtailor, write_job, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("x")
    code, _, said = fedtailor("run", write_job(), "--out", tmp_path / "full")
    assert code == 2
    assert "not an empty folder" in said


@pytest.mark.parametrize("command", ["show", "compare", "try", "export"])
def test_what_is_no_run_is_named(fedtailor, tmp_path, command):
    more = {"try": ["text"], "export": [tmp_path / "out"], "compare": [tmp_path]}.get(command, [])
    code, _, said = fedtailor(command, tmp_path, *more)
    assert code == 2
    assert " not the folder of a " in said


def test_models(fedtailor):
    assert "smollm2-135m" in fedtailor("models", "list")[1]
    code, _, said = fedtailor("models", "add", "gpt-9")
    assert code == 2
    assert "smollm2-135m" in said


def test_unforeseen_faults_are_one_line_and_exit_1(fedtailor, monkeypatch, tmp_path):
    monkeypatch.setattr(Job, "load", classmethod(lambda *a: 1 / 0))
    code, _, said = fedtailor("run", tmp_path / "job.yaml")
    assert code == 1
    assert "ZeroDivisionError" in said
    assert "--debug" in said
    assert "Traceback" not in said
    with pytest.raises(ZeroDivisionError):
        fedtailor("run", tmp_path / "job.yaml", "--debug")


def test_packaged_demo_job_is_right():
    file = Path(__file__).parents[2] / "src" / "fedtailor" / "cli" / "demos" / "main.yaml"
    demo = Job.load(file)
    assert (demo.name, demo.backbone, demo.data.train, demo.clients.partition.kind) == (
        "demo",
        "smollm2-135m",
        "docstrings",
        "natural",
    )


def test_a_killed_pipe_is_no_fault(write_job):
    began = time.monotonic()
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "fedtailor.cli", "schema"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_stopped_run_says_how_to_continue(fedtailor, write_job, tmp_path, monkeypatch, more):
    job, folder = write_job(), tmp_path / "out"

    def stopped_by_hand(job, *, watcher, **rest):
        watcher("start", {"folder": str(folder), "rounds": 2, "clients": 3, "steps_per_round": 4})
        raise KeyboardInterrupt

    monkeypatch.setattr("fedtailor.running.run", stopped_by_hand)
    code, printed, said = fedtailor("run", job, "--out", folder, *more)
    assert (code, printed) == (1, "")
    assert f"resume it with fedtailor run --resume {folder}" in said


def test_a_run_continues_from_its_own_folder(fedtailor, write_job, tmp_path):
    folder = tmp_path / "out"
    assert fedtailor("run", write_job(), "stop.rounds=1", "--out", folder, "--json")[0] == 0
    code, printed, _ = fedtailor("run", folder / "job.yaml", "stop.rounds=2", "--resume", folder, "--json")
    assert code == 0
    assert json.loads(printed)["rounds"] == 2


def test_json_is_strict_and_what_went_wrong_stands_on_stderr(fedtailor, write_job, tmp_path, monkeypatch):
    def run(job, *, watcher, **rest):
        watcher("warning", {"text": "few examples"})
        watcher("failure", {"client": "b", "text": "lost: Timeout"})
        return Result(folder=tmp_path, summary={"metrics": {"after": {"loss": float("nan"), "perplexity": float("inf")}}})

    monkeypatch.setattr("fedtailor.running.run", run)
    code, printed, said = fedtailor("run", write_job(), "--json")
    assert (code, said) == (0, "note: few examples\nclient b dropped: lost: Timeout\n")
    assert json.loads(printed, parse_constant=pytest.fail) == {"metrics": {"after": {"loss": None, "perplexity": None}}}
    (tmp_path / "summary.json").write_text('{"metrics": {"after": {"loss": NaN, "perplexity": Infinity}}}')
    assert json.loads(fedtailor("show", tmp_path, "--json")[1], parse_constant=pytest.fail) == json.loads(printed)


def test_resume_takes_no_other_folder(fedtailor, write_job, tmp_path):
    code, _, said = fedtailor("run", write_job(), "--resume", tmp_path / "r1", "--out", tmp_path / "r9")
    assert code == 2
    assert f"--resume {tmp_path / 'r1'}" in said
    assert f"--out {tmp_path / 'r9'}" in said
    assert not (tmp_path / "r9").exists()


def test_compare_wants_two_runs(fedtailor, tmp_path):
    code, _, said = fedtailor("compare", tmp_path)
    assert code == 2
    assert "name two or more" in said


@pytest.mark.parametrize("command", ["show", "compare"])
def test_an_empty_summary_is_named(fedtailor, tmp_path, command):
    (tmp_path / "summary.json").write_text("{}")
    code, _, said = fedtailor(command, tmp_path, *([tmp_path] if command == "compare" else []))
    assert code == 2
    assert "summary.json cannot be read" in said
    assert said.count("\n") == 1
