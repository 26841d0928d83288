"""What must be as it was, for a run to go on to the same bits."""

import hashlib
import json
from pathlib import Path
from typing import Any

from ..assemble import Parts
from ..data.divide import Divided
from ..errors import ResumeError
from ..job import Job

NOTED_SINCE = (
    "chat_template",
    "config",
    "tokenizer_config",
    "generation_config",
    "other_files",
)  # earlier versions noted fewer parts
MUST_AGREE = {  # in environment.json -> what to try
    "backbone.weights": "name the backbone that the run was started with",
    "backbone.tokenizer": "name the backbone that the run was started with",
    **dict.fromkeys((f"backbone.{part}" for part in NOTED_SINCE), "put the backbone's files back as they were"),
    "own_backbones": "name the backbones that the run was started with",
    "data": "give the run the data that it was started with",
}
SHOULD_AGREE = ("precision", "threads", "device", "packages.torch")  # else the figures agree, the bits may not


def check_same_job(job: Job, path: Path) -> None:
    """Raise ResumeError, naming the keys, if `job` differs from the one in the run folder in more than `stop`."""
    if not (path / "job.yaml").is_file():
        raise ResumeError(f"{path} is no run folder: it has no job.yaml; --resume takes a folder that an earlier run wrote")
    baseline = _environment(path).get("baseline")
    if baseline:
        raise ResumeError(
            f"{path} holds a baseline ({baseline}), which cannot be resumed; start it anew with --baseline {baseline}"
        )
    differing = [key for key in job.differences(Job.load(path / "job.yaml")) if key.split(".")[0] != "stop"]
    if differing:
        raise ResumeError(
            f"the run in {path} was started with other settings: {', '.join(differing)} differ; "
            "only stop may change on --resume; take the others back, or start a new run"
        )


def check_same_parts(environment: dict[str, Any], path: Path) -> list[str]:
    """Return warnings about what may change the bits of a run that goes on in `path`.

    Raises:
        ResumeError: if the backbone or the data are not those that the run was started with.
    """
    before = _environment(path)
    if not before:
        return []
    for name, remedy in MUST_AGREE.items():
        noted = _at(before, name)
        if noted is None and name.rpartition(".")[2] in NOTED_SINCE:
            continue
        if not _is_as_noted(noted, _at(environment, name)):
            raise ResumeError(
                f"the run in {path} was started with another {name.replace('.', ' ')}: SHA-256 {_at(before, name)}, "
                f"now {_at(environment, name)}; {remedy}, or start a new run"
            )
    changed = [name for name in SHOULD_AGREE if _at(before, name) != _at(environment, name)]
    return [
        f"{name} was {_at(before, name)} and is {_at(environment, name)}: the run goes on, but not to the same bits"
        for name in changed
    ]


def _is_as_noted(before: Any, now: Any) -> bool:
    """Return whether all that was noted is as it is now; what is noted since then is left out."""
    if isinstance(before, dict) and isinstance(now, dict):
        return bool(before) == bool(now) and all(_is_as_noted(value, now.get(key)) for key, value in before.items())
    return bool(before == now)


def data_hash(parts: Parts) -> str:
    """Return the SHA-256 of all examples, and of whose they are."""
    divided: Divided = parts.divided
    digest = hashlib.sha256()
    for part in (divided.train, divided.validation, divided.test):
        for client in sorted(part):
            for example in part[client]:
                digest.update(repr((client, example.id, sorted(example.fields.items()))).encode())
    for example in (*divided.server_validation, *divided.server_test, *parts.public):
        digest.update(repr((example.id, sorted(example.fields.items()))).encode())
    return digest.hexdigest()


def _environment(path: Path) -> dict[str, Any]:
    """Return what the run in `path` was made with; empty if it has not told."""
    file = path / "environment.json"
    if not file.is_file():
        return {}
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise ResumeError(f"{file} is damaged, so nobody can tell whether the run would go on as it began; start a new run")
    return told


def _at(values: Any, name: str) -> Any:
    for key in name.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values
