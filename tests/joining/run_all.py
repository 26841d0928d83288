"""Runs a tiny job with each technique that has joined, in a process that imports the copied package; prints what came of it."""

import json
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from jobs import tiny_job, tiny_rows

import fedtailor
from fedtailor.errors import SettingError
from fedtailor.network.kit.policy import Policy
from fedtailor.report.read import read_run
from fedtailor.report.run.tables import tables
from fedtailor.running import run

ROOT = Path(__file__).parents[2]
SMALL = {"clients__count": 2, "stop__rounds": 1, "stop__keep": "last", "evaluation__metrics": ["loss"]}
RESUMED = ("protocols", "phases")
JOBS: dict[str, dict[str, Any]] = {
    "tuning": {"tuning": {"kind": "norms"}},
    "aggregation": {"protocol__aggregation": {"kind": "halfway", "share": 0.5}},
    "protection": {"protection": [{"kind": "rounded", "step": 0.001}]},
    "phases": {"after": ["loss-gap"]},
    "protocols": {"protocol": {"kind": "relay", "local": {"learning_rate": 0.02}}},
    "tasks": {"task": {"kind": "endings"}, "data__columns": {"text": "target"}},
}


class Killed(Exception):
    """Stands for the end of the process."""


def resumed(job: Any, out: Path) -> dict[str, Any]:
    """Return the summary of a run that was interrupted behind its first round."""

    def kill(kind: str, facts: Any) -> None:
        if kind == "round":
            raise Killed

    try:
        run(job, data=tiny_rows(), out=out, watcher=kill)
    except Killed:
        return dict(run(job, data=tiny_rows(), resume=out).summary)
    raise AssertionError("nothing was interrupted")


def documented() -> list[str]:
    """Return the settings of which docs/job.md gets a table by `make tables`."""
    spec = spec_from_file_location("job_tables", ROOT / "tools" / "job_tables.py")
    assert spec is not None
    tables = module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(tables)
    page = tables.fill(tables.placed((ROOT / "docs" / "job.md").read_text(encoding="utf-8")))
    return re.findall(r"<!-- settings: (\w+) -->", page)


def main(backbone: str, folder: Path) -> None:
    found: dict[str, Any] = {"package": fedtailor.__file__}
    for name, changes in JOBS.items():
        job = tiny_job(backbone, **(SMALL | {"stop__rounds": 1 + (name in RESUMED)} | changes))
        whole = run(job, data=tiny_rows(), out=folder / name).summary
        found[name] = {
            "losses": whole["validation_loss"],
            "after": whole.get("after"),
            "kinds": sorted(whole["traffic"]["by_kind"]),
        }
        if name in RESUMED:
            again = resumed(job, folder / f"{name}-resumed")
            found[name]["resumed"] = {"losses": again["validation_loss"], "after": again.get("after")}
    found["tables"] = [title for title, _ in tables(read_run(folder / "phases"))]
    job = tiny_job(backbone, **SMALL, **JOBS["phases"]).to_dict()
    found["refusals"] = Policy(reports=("examples", "figures")).refusals(job)
    found["permitted"] = Policy(reports=("examples", "figures", "gap")).refusals(job)
    found["documented"] = documented()
    try:
        Policy(reports=("gaps",))
    except SettingError as error:
        found["unknown"] = str(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
