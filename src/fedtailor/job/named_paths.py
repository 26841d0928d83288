"""Settings that name files: what no file can be called is refused before anything is opened."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..text_files import expanded

PATHS = (
    "backbone",
    "task.labels",
    "task.reader",
    "task.reader.run",
    "tuning.initial",
    "protocol.query",
    "protocol.method.pool",
    "protocol.method.shots",
    "evaluation.retained",
    "evaluation.features.path",
)
SOURCES = ("data.train", "data.validation", "data.test", "protocol.public")  # or a list of paths


def check_paths(job: Any) -> None:
    """Raise SettingError, with the setting's name, where a job names a file that is none: blank, a dot, too long."""
    for setting, value in _named(job):
        if isinstance(value, str | Path):
            expanded(job.base, value, setting, dot=setting in SOURCES)


def _named(job: Any) -> Iterator[tuple[str, object]]:
    yield from ((setting, _value(job, setting)) for setting in PATHS)
    for setting in SOURCES:
        source = _value(job, setting)
        yield from (
            (setting, one) for one in (source if isinstance(source, Sequence) and not isinstance(source, str) else [source])
        )
    for name, own in job.clients.overrides.items():
        yield f"clients.overrides.{name}.backbone", own.backbone


def _value(job: object, setting: str) -> object:
    """Return the value of a dotted setting; None where the job's techniques have no such setting."""
    for name in setting.split("."):
        job = getattr(job, name, None)
    return job
