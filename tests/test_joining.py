"""A technique joins by its own files and two statements elsewhere, an import and a line of a table; each is tried on a copy of the package.

The files lie in tests/joining as they would in src/fedtailor. What they must be besides (declared, resumable, reported, permitted by policies) the
copy's conformance suites hold, which they join by being registered.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fedtailor

TESTS = Path(__file__).parent
FILES = TESTS / "joining"
PACKAGE = Path(fedtailor.__file__).parent
JOINS = {  # folder of the technique: module, what it offers, the table, the line of it
    "tuning": ("norms", "Norms", "TUNINGS", '"norms": Norms'),
    "aggregation": ("halfway", "Halfway", "AGGREGATIONS", '"halfway": Halfway'),
    "protection": ("rounded", "Rounded", "PROTECTIONS", '"rounded": Rounded'),
    "tasks": ("endings", "Endings", "TASKS", '"endings": Endings'),
    "phases": ("gap", "LossGap", "PHASES", '"loss-gap": LossGap'),
    "protocols": ("relay", "Relay, relay_run", "MAKERS", "Relay: relay_run"),
}
SUITES = {  # that hold what every technique of a sort promises -> which of their tests are of those that have joined
    "aggregation/test_conformance.py": "halfway",
    "protocols/test_conformance.py": "relay or after",
    "protocols/test_declared.py": "policy",
    "tuning/test_conformance.py": "norms or here",
    "tuning/test_learning_rates.py": "norms",
    "models/test_kinds.py": "task",
    "test_pairs.py": "words",
}


def joined(folder):
    """Return the text of a folder's __init__ with a technique in it."""
    module, names, table, line = JOINS[folder]
    lines = (PACKAGE / folder / "__init__.py").read_text(encoding="utf-8").splitlines()
    imports = [node for node in ast.parse("\n".join(lines)).body if isinstance(node, ast.ImportFrom)]
    (of_table,) = [
        node
        for node in ast.parse("\n".join(lines)).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == table
    ]
    place = of_table.value.end_lineno - 1, of_table.value.end_col_offset - 1
    before = lines[place[0]][: place[1]].rstrip()
    full = "\n".join([*lines[of_table.lineno - 1 : place[0]], before]).rstrip()
    comma = "" if full.endswith(("{", ",")) else ", "
    lines[place[0]] = f"{before}{comma}{line}{lines[place[0]][place[1] :]}"
    lines.insert(imports[-1].end_lineno, f"from .{module} import {names}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("folder", JOINS)
def test_a_technique_has_files_of_its_own_alone(folder):
    """What it needs beside them is what `joined` writes, an import and a line of a table; the runs of the copy show that nothing else is needed."""
    own = [file.relative_to(FILES) for file in (FILES / folder).rglob("*.py")]
    module = Path(folder) / JOINS[folder][0]
    assert own
    assert all(file == module.with_suffix(".py") or module in file.parents for file in own)
    assert [file for file in own if (PACKAGE / file).exists()] == []  # it would replace a file of the package unseen


@pytest.fixture(scope="session")
def copied(tmp_path_factory):
    """Return a folder with a copy of the package in which all of them have joined, and the environment of processes that import it."""
    place = tmp_path_factory.mktemp("joined")
    shutil.copytree(PACKAGE, place / "fedtailor")  # with what is compiled of it
    for folder in JOINS:
        shutil.copytree(
            FILES / folder, place / "fedtailor" / folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )
        (place / "fedtailor" / folder / "__init__.py").write_text(joined(folder), encoding="utf-8")
    return place, {**os.environ, "PYTHONPATH": f"{place}{os.pathsep}{TESTS}"}


@pytest.mark.slow  # a process that imports the copy runs ten tiny jobs
def test_each_runs_and_resumes_and_is_reported(copied, tiny_backbone_folder, tmp_path):
    place, environment = copied
    command = [sys.executable, str(FILES / "run_all.py"), str(tiny_backbone_folder), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["package"].startswith(str(place))
    for name in JOINS:
        assert found[name]["losses"]["after"] < found[name]["losses"]["before"], name
    for name in ("protocols", "phases"):
        assert found[name]["resumed"] == {part: found[name][part] for part in ("losses", "after")}
    assert set(found["phases"]["after"]["loss_gap"]["clients"]) == {"client-00", "client-01"}
    assert "loss-gap" in found["phases"]["kinds"]
    assert found["tables"][-1] == "Loss gap"
    assert found["refusals"] == [
        "the job needs reports of gap (how much better weights fit its training examples than others), which this site does not give; "
        "it gives examples, figures, and its owner permits more by adding gap to policy.reports"
    ]
    assert found["permitted"] == []
    assert {"Norms", "Halfway", "Rounded", "Endings", "LossGap", "Relay"} <= set(found["documented"])
    assert "gap" in found["unknown"].partition("known are")[2].split(", ")


@pytest.mark.large  # whole suites in processes of their own
@pytest.mark.parametrize("suite", SUITES)
def test_each_joins_the_suites_by_being_registered(copied, suite):
    _, environment = copied
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-n0",
        "-p",
        "no:cacheprovider",
        str(TESTS / suite),
        "-k",
        SUITES[suite],
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
