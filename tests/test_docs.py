"""The manual and the examples are run: files are written, Python is executed, jobs are read, names are looked up.

In a page, a block with title="NAME" is a file; Python after a line `<!-- run -->` is executed; all YAML is a job, whole or in part.
`smollm2-135m` and `minilm-l6` stand for a tiny model here.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from jobs import tiny_rows

from fedtailor.job import Job
from fedtailor.yaml_text import read_yaml

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(<!-- run -->\n)?```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.M | re.S)
SMALLEST = {"backbone": "smollm2-135m", "task": {"kind": "generation"}, "data": {"train": "docstrings"}}


def blocks(page, language):
    """Return (whether to run it, file name, text) of each block in a language."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [(bool(run), title, text) for run, kind, title, text in found if kind == language]


def id_of(page):
    return str(page.relative_to(ROOT))


def having(language):
    return [page for page in PAGES if blocks(page, language)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Work in a fresh folder, from which the user's own modules are found and forgotten again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if not hasattr(sys.modules[name], "__file__") or str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def write_files(page, folder):
    for language in ("python", "yaml"):
        for _, title, text in blocks(page, language):
            if title:
                (folder / title).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("page", having("yaml"), ids=id_of)
def test_every_job_in_the_manual_is_valid(page, place):
    write_files(page, place)
    for _, _, text in blocks(page, "yaml"):
        Job.from_dict(SMALLEST | read_yaml(text, id_of(page)), base=place)


@pytest.mark.parametrize(
    "page", [page for page in having("python") if any(run for run, _, _ in blocks(page, "python"))], ids=id_of
)
def test_python_in_the_manual_runs(page, place, tiny_backbone_folder, capsys):
    write_files(page, place)
    names: dict[str, object] = {}
    for run, _, text in blocks(page, "python"):
        if run:
            exec(compile(text.replace("smollm2-135m", str(tiny_backbone_folder)), id_of(page), "exec"), names)
    assert capsys.readouterr().out


def test_a_rule_of_the_users_own_runs_as_the_manual_says(place, tiny_backbone_folder):
    from fedtailor.running import run

    write_files(ROOT / "docs" / "extending.md", place)
    settings = yaml.safe_load((place / "median.yaml").read_text())
    job = Job.from_dict(
        settings
        | {
            "backbone": str(tiny_backbone_folder),
            "clients": {"partition": {"kind": "natural", "by": "food"}, "min_examples": 4},
            "evaluation": {"generate": {"max_new_tokens": 2}},
            "stop": {"rounds": 1},
        }
    )
    result = run(job, data=tiny_rows(), out=place / "r")
    assert "my_rules:Median" in (result.folder / "job.yaml").read_text()
    assert result.history["update_norm"].gt(0).all()


def test_the_median_of_the_manual(place):
    import torch

    from fedtailor.records import Update

    write_files(ROOT / "docs" / "extending.md", place)
    from my_rules import Median

    # medians of (1, 2, 100) and (4, -2, 0) are 2 and 0; half of them on top of 10 and 20
    updates = [
        Update(client=c, version=0, delta={"a": torch.tensor(d)}, weight=1.0)
        for c, d in zip("xyz", ([1.0, 4.0], [2.0, -2.0], [100.0, 0.0]), strict=True)
    ]
    assert Median(step=0.5).combine(updates, {"a": torch.tensor([10.0, 20.0])}, {}).shared["a"].tolist() == [11.0, 20.0]


def tool(name):
    """Return one of the tools as a module."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


WORKED = re.compile(r"^<!-- run -->\n```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.M | re.S)
EXPLAINED = [page for page in PAGES if page.parent.name == "explanation" and WORKED.search(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", EXPLAINED, ids=id_of)
def test_worked_numbers_are_what_the_code_prints(page, capsys):
    names: dict[str, object] = {}
    for code, printed in WORKED.findall(page.read_text(encoding="utf-8")):
        exec(compile(code, id_of(page), "exec"), names)
        assert capsys.readouterr().out.rstrip("\n") == printed.rstrip("\n")


def test_every_explanation_has_a_drawing_and_a_worked_number():
    drawn = [page for page in EXPLAINED if "\n```\n" in page.read_text(encoding="utf-8").split("<!-- run -->")[0]]
    assert len(EXPLAINED) == 8
    assert drawn == EXPLAINED


def test_commands_and_causes_in_the_manual_are_those_of_the_code():
    for name, text in tool("reference_pages").pages().items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, f"docs/{name} is not that of the code; run make tables"


def test_every_page_has_its_place_in_one_of_four_kinds():
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    kinds = [next(iter(part)) for part in settings["nav"]]

    def files(part):
        if isinstance(part, str):
            return [part]
        return [name for inner in (part if isinstance(part, list) else part.values()) for name in files(inner)]

    assert kinds == ["Tutorials", "How-to", "Explanation", "Reference"]
    assert sorted(files(settings["nav"])) == sorted(str(page.relative_to(ROOT / "docs")) for page in PAGES[1:])


def test_the_tables_of_settings_are_those_of_the_code():
    tables = tool("job_tables")
    text = (ROOT / "docs" / "job.md").read_text(encoding="utf-8")
    shown = re.findall(r"<!-- settings: (\w+) -->", text)
    assert sorted(shown) == sorted(tables.sections()), (
        "a section of docs/job.md is missing, is there twice, or is gone from the code; run make tables"
    )
    assert tables.fill(text) == text, "the tables in docs/job.md are not those of the code; run make tables"


def first_column(page, heading):
    """Return the names in code marks in the first column of the first table under a heading."""
    under = page.read_text(encoding="utf-8").split(heading, 1)[1]
    rows = re.findall(r"^\|.*\|$", under.split("\n## ")[0].lstrip("\n"), re.M)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def test_the_run_folder_is_as_the_manual_says(make_job, rows, tmp_path):
    from fedtailor.report import read_run
    from fedtailor.report.page import write_page
    from fedtailor.running import run

    page = ROOT / "docs" / "run-folder.md"
    job = make_job(stop__rounds=1, protocol__local__keep_optimizer=True, evaluation__local_gain=True)
    folder = run(job, data={"train": rows, "test": rows[:3]}, out=tmp_path / "r").folder
    write_page(read_run(folder))
    told = {name.rstrip("/") for name in first_column(page, "# The run folder")}
    more = {"privacy.json", "audit.json"}  # with differential privacy alone, and once a run was audited
    assert told - more == {path.name for path in folder.iterdir()}
    columns = set(pd.read_parquet(folder / "clients.parquet").columns)
    described = set(first_column(page, "## A row of clients.parquet"))
    assert columns - {"round", "client"} - described == set()
    assert described - columns <= {"error", "peak_bytes"}  # only where there is one, and where the system tells it


def test_each_line_of_who_trusts_whom_names_tests_that_are_there():
    text, lines = (ROOT / "docs" / "security.md").read_text(encoding="utf-8"), 0
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.M):
        head, _, *rows = table.splitlines()
        assert head.split("|")[-2].strip() == "tried by", head
        for row in rows:
            named = re.findall(r"`([\w/]+(?:\.py|/))`", row.split("|")[-2])
            assert named or "by nothing" in row.split("|")[-2], row
            assert all((ROOT / "tests" / name).exists() for name in named), row
            lines += 1
    assert lines > 20


def test_what_leaves_a_client_is_as_the_manual_says():
    from fedtailor.messages.record import layout_of
    from fedtailor.protocols.averaging.messages import Trained

    assert set(first_column(ROOT / "docs" / "privacy.md", "these facts")) == set(layout_of(Trained).facts)


@pytest.mark.slow  # a process of its own
def test_the_example_runs(place, tiny_backbone_folder):
    command = [sys.executable, ROOT / "examples" / "own_data.py", "--backbone", tiny_backbone_folder, "--rounds", "1"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=os.environ | {"HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert "loss" in done.stdout
    assert (place / "runs").is_dir()


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_commands_in_the_manual_exist(page):
    import typer

    from fedtailor.cli.main import make_app

    known = set(typer.main.get_command(make_app()).commands)
    text = page.read_text(encoding="utf-8")
    shell = "".join(text for _, _, text in blocks(page, "bash"))
    typed = re.findall(r"^fedtailor ([a-z]+)", shell, re.M) + re.findall(r"`fedtailor ([a-z]+)", text)
    assert set(typed) <= known


def test_every_make_target_in_the_manual_exists():
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.M))
    pages = [*PAGES, ROOT / "CONTRIBUTING.md"]
    named = {name for page in pages for name in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.M)}
    assert named <= targets
    assert {"setup", "demo", "test"} <= named
