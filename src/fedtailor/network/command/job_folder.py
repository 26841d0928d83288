"""What is submitted at a server: settings and public examples. No code is among them, and nothing of a site's."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ...assembly.public import load_public
from ...assembly.retained import load_retained
from ...data import Divided
from ...data.parts import load_public_parts
from ...federation.nvflare.app import OURS, SERVER, SITE_APP, SITE_FILE, THEIRS
from ...job import Job
from ...records import ClientId, Example
from ...tasks.task import reads_of
from ..meeting.meeting import plain_examples

SYNC_S = 120  # that the processes of all sites may take to start, and a run waits for a site that died before its process did


def job_folder(folder: Path, settings: Mapping[str, Any], sites: Sequence[ClientId]) -> Path:
    """Write what is submitted: three files for the engine, and the job with its public examples. No code is among them.

    Returns:
        The folder.
    """
    files = {
        "meta.json": {
            "name": "fedtailor",
            "resource_spec": {},
            "min_clients": len(sites),
            "mandatory_clients": list(sites),
            "deploy_map": {"server": ["server"], "site": list(sites)},
        },
        "server/config/config_fed_server.json": {
            "format_version": 2,
            "workflows": [
                {"id": "controller", "path": THEIRS[SERVER], "args": {"server_obj_id": "_server", "sync_task_timeout": SYNC_S}}
            ],
            "components": [{"id": "_server", "path": OURS[SERVER], "args": {}}],
        },
        "server/config/job.json": dict(settings),
        f"site/{SITE_FILE}": SITE_APP,
    }
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")
    return folder


def settings_of(job: Job) -> dict[str, Any]:
    """Return the job and its public examples, which are read here: the server need not have the files."""
    parts = load_public_parts(job.data, **reads_of(job.task), base=job.base, seed=job.seed)
    return {
        "job": json.loads(json.dumps(_with_whole_paths(job).to_dict(), default=str)),
        "public": plain_examples(_public(job, parts)),
        "retained": plain_examples(load_retained(job)),
        **{part: plain_examples(examples) for part, examples in parts.items()},
    }


def _public(job: Job, parts: Mapping[str, list[Example]]) -> Sequence[Example]:
    nothing = Divided(
        train={},
        validation={},
        test={},
        server_validation=parts["validation"],
        server_test=parts["test"],
        table=pd.DataFrame(),
        divergence=None,
        divergence_over="",
        dropped={},
    )
    return load_public(job, nothing, lambda text: None)


def _with_whole_paths(job: Job) -> Job:
    """Return the job with its backbone named by a whole path, if it is one, and what it reads of files of prompts written out."""
    path = job.path(job.backbone)
    job = job.replace("backbone", str(path)) if path.exists() else job
    for name, value in job.protocol.inlined(job.base).items():
        job = job.replace(f"protocol.{name}", value)
    return job
