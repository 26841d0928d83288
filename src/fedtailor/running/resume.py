"""What must be as it was, for a run to resume to the same bits."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..assembly import Parts
from ..data.divide import Divided
from ..errors import DataError, ResumeError
from ..job import Job
from ..learning.local import LocalTraining
from ..run_files import WHAT, check_sealed, found_at, read_json_file
from ..text_files import check_regular
from .progress import TABLES, Progress

READING = 2  # raised when the same files give other examples, clients or parts; runs before it was noted have none
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
MAY_CHANGE = (  # on --resume: what changes neither the data nor what the weights mean
    "stop",
    "protocol.local.learning_rate",
    "protocol.local.schedule",
    "protocol.local.schedule_rounds",
    "protocol.local.clip_norm",
    "protocol.local.checkpointing",
    "evaluation.every",
    "threads",
    "device",
    "data.cache",
    "report_to",
)
OF_NO_ROUND = ("stop", "threads", "device", "data.cache", "report_to")  # of these: what a run may be given that has no round left
WRITTEN_AGAIN = ("events.jsonl", "summary.json", *(f"{name}.parquet" for name in TABLES))
SEALED = ("job.yaml", "environment.json", "manifest.json")
SHOULD_AGREE = ("precision", "threads", "device", "packages.torch", "clock")  # else the figures agree, the bits may not


def check_run_folder(path: Path) -> None:
    """Raise ResumeError unless `path` is the folder of a run that can be resumed, whose settings are as the run wrote them."""
    if not (path / "job.yaml").exists():
        raise ResumeError(f"{path} is no run folder: {found_at(path)}; --resume takes a folder that an earlier run wrote")
    for file in (path / name for name in WRITTEN_AGAIN):
        if os.path.lexists(file):  # a folder in its place would stop the run after its next round
            check_regular(file, WHAT, error=ResumeError, tip="remove the link")
    try:
        check_sealed(
            path,
            SEALED,
            tip=f"put back a copy; to change a setting of the run, write it behind: fedtailor run --resume {path} KEY=VALUE",
        )
    except DataError as fault:
        raise ResumeError(str(fault)) from None
    baseline = _environment(path).get("baseline")
    if baseline:
        raise ResumeError(
            f"{path} holds a baseline ({baseline}), which cannot be resumed; start it again with --baseline {baseline}"
        )


def job_of_run(path: Path, overrides: Sequence[str] = ()) -> Job:
    """Return the run's own job, with `section.setting=value` on top; which settings may change is checked where it is resumed.

    Raises:
        ResumeError: if `path` is no run folder, or its job was changed since.
        SettingError: if an override is wrong.
    """
    check_run_folder(path)
    return Job.load(path / "job.yaml", overrides)


def check_same_job(job: Job, path: Path) -> list[str]:
    """Return a sentence for each setting in which `job` differs from the one in the run folder.

    Raises:
        ResumeError: naming the keys, if one differs that must not.
    """
    check_run_folder(path)
    before = Job.load(path / "job.yaml")
    differing = job.differences(before)
    wrong = _outside(differing, MAY_CHANGE)
    if wrong:
        raise ResumeError(
            f"the run in {path} was started with other settings: {', '.join(wrong)} differ; on --resume may change: "
            f"{', '.join(MAY_CHANGE)}. fedtailor run --resume {path} takes all others from the run itself; or start a new run"
        )
    old, new = before.to_dict(), job.to_dict()
    return [f"{key} is {_at(new, key)} from here on; it was {_at(old, key)}" for key in differing]


def check_left(job: Job, path: Path, progress: Progress, stopped_by: str | None) -> list[str]:
    """Return a note if the run in `path` has no round left to train, with the setting that gives it some.

    Args:
        stopped_by: why no round is left: rounds, patience, privacy budget or search; None if there are some.

    Raises:
        ResumeError: if none is left, and settings were changed that only a further round would use.
    """
    done = progress.state.version
    if stopped_by is None:
        return []
    more = f"stop.rounds={done + 1} or more"
    why, remedy = {
        "rounds": (f"it has done {done} rounds, and stop.rounds is {job.stop.rounds}", f"add {more}"),
        "patience": (
            f"its validation loss has not fallen since round {progress.figures['best_round']}, and stop.patience is {job.stop.patience}",
            f"add stop.patience=null{f' and {more}' if done >= job.stop.rounds else ''}",
        ),
    }.get(stopped_by, (f"its {stopped_by} is at its end", "start a new run"))
    said = f"the run in {path} has no round left to train: {why}; to train more, {remedy}"
    idle = _outside(job.differences(Job.load(path / "job.yaml")), OF_NO_ROUND)
    if idle:
        raise ResumeError(f"{said}. {', '.join(idle)} would change nothing otherwise")
    return [said]


def check_schedule(local: LocalTraining, *, done: int, planned: int, rounds: int, resumed: bool) -> list[str]:
    """Return a note if the schedule of the learning rate ends before the rounds do, so that the rest would train at a rate of 0.

    Args:
        done: rounds behind the run.
        planned: rounds of the first start.
        rounds: of the job now.

    Raises:
        ResumeError: if a resumed run was given more rounds, and the schedule was not.
    """
    if local.schedule == "constant":
        return []
    end = local.schedule_rounds or planned
    first = max(done, end) + 1
    if first > rounds:
        return []
    which = f"round {first}" if first == rounds else f"rounds {first} to {rounds}"
    said = (
        f"the {local.schedule} schedule of the learning rate ends with round {end}: {which} would train at a learning rate of 0"
    )
    if not resumed or local.schedule_rounds is not None:
        return [f"{said}; set protocol.local.schedule_rounds to {rounds} or more, or stop.rounds to {end}"]
    raise ResumeError(
        f"{said}; add protocol.local.schedule_rounds={rounds} to stretch it over all rounds, or protocol.local.schedule=constant with a "
        f"protocol.local.learning_rate to train on"
    )


def check_same_parts(environment: dict[str, Any], path: Path) -> list[str]:
    """Return warnings about what may change the bits of a run that is resumed in `path`.

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
            if name == "data" and before.get("reading") != READING:
                raise _other_reading(before, path)
            raise ResumeError(
                f"the run in {path} was started with another {name.replace('.', ' ')}: SHA-256 {_at(before, name)}, "
                f"now {_at(environment, name)}; {remedy}, or start a new run"
            )
    changed = [name for name in SHOULD_AGREE if _at(before, name) != _at(environment, name)]
    return [
        f"{name} was {_at(before, name)} and is {_at(environment, name)}: the run continues, but not to the same bits"
        for name in changed
    ]


def _other_reading(before: dict[str, Any], path: Path) -> ResumeError:
    """Return the error about a run whose version read its data otherwise than this one."""
    return ResumeError(
        f"the run in {path} was begun by an earlier version (fedtailor {_at(before, 'packages.fedtailor')}, Python {before.get('python')}), which "
        "read and divided data otherwise, so this version would continue it with other examples; fedtailor show, compare, try and export "
        f"still read it; to train with this version, begin again: fedtailor run {path / 'job.yaml'} --out FOLDER"
    )


def _outside(keys: Sequence[str], sections: Sequence[str]) -> list[str]:
    """Return the dotted names that are none of these settings, and in none of these sections."""
    return [key for key in keys if not any(key == one or key.startswith(f"{one}.") for one in sections)]


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
    for example in (*divided.server_validation, *divided.server_test, *parts.public, *divided.retained):
        digest.update(repr((example.id, sorted(example.fields.items()))).encode())
    return digest.hexdigest()


def recorded_clock(path: Path) -> str | None:
    """Return the moment that the chat template wrote in the run in `path`; None if there is no such run, or its template writes none."""
    found = _environment(path).get("clock")
    return found if isinstance(found, str) else None


def _environment(path: Path) -> dict[str, Any]:
    """Return what the run in `path` was made with; empty if it did not say."""
    file = path / "environment.json"
    if not file.exists():
        return {}
    try:
        found = read_json_file(file)
    except DataError:
        found = None
    if not isinstance(found, dict):
        raise ResumeError(
            f"{file} is damaged, so whether the run would continue as it began cannot be checked; put back a copy, or start a new run"
        )
    return found


def _at(values: Any, name: str) -> Any:
    for key in name.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values
