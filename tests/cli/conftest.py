import json
from pathlib import Path
from typing import Any

import pytest

from fedtailor.cli import main
from fedtailor.yaml_text import write_yaml


@pytest.fixture
def fedtailor(capsys):
    """Return a way to type a command: exit code, stdout, stderr."""

    def type_command(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return int(code or 0), printed.out, printed.err

    return type_command


@pytest.fixture
def write_job(tmp_path, tiny_backbone_folder):
    """Return a maker of a job file with data of three owners beside it; dotted settings are put on top."""

    def write(rows: list[dict[str, Any]] | None = None, **sections: Any) -> Path:
        owned = rows or [
            {"question": f"what is {i} plus {i % 7}?", "answer": f"it is {i + i % 7}", "who": "abc"[i % 3]} for i in range(60)
        ]
        (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in owned))
        job = {
            "backbone": str(tiny_backbone_folder),
            "task": {"kind": "generation"},
            "data": {"train": "train.jsonl", "columns": {"input": "question", "target": "answer"}},
            "clients": {"partition": {"kind": "natural", "by": "who"}, "min_examples": 4},
            "protocol": {"local": {"steps": 2, "learning_rate": 1e-2}},
            "evaluation": {"generate": {"max_new_tokens": 4}},
            "stop": {"rounds": 2},
            "threads": 1,
        }
        file = tmp_path / "job.yaml"
        file.write_text(write_yaml(job | sections), encoding="utf-8")
        return file

    return write


@pytest.fixture(autouse=True)
def no_pages(monkeypatch):
    """Have runs of commands leave no report.html, which costs a second each; tests/report/page tries it."""
    monkeypatch.setattr("fedtailor.cli.report.leave_report", lambda run: None)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keep what commands keep in the user's cache out of the home of whoever runs the tests."""
    monkeypatch.setenv("FEDTAILOR_CACHE", str(tmp_path_factory.mktemp("cache")))
