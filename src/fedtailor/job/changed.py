"""Which settings of a job are not the defaults."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from ..errors import SettingError
from .job import Job

TECHNIQUES = (
    "task",
    "data",
    "tuning",
    "protocol",
    "personalization",
)  # sections of which a job names a kind, or what has no default


def changed_settings(job: Job) -> dict[str, Any]:
    """Return the settings, by dotted name, in which a job differs from one of the same kinds that names only what it must.

    None if there is no such job, as its settings need each other.
    """
    every = job.to_dict()
    least = {name: _needed(getattr(job, name), every[name]) for name in TECHNIQUES}
    try:
        usual = Job.from_dict({"name": job.name, "backbone": job.backbone, **least}, base=job.base)
    except SettingError:
        return {}
    return {key: _at(every, key.split(".")) for key in job.differences(usual)}


def _needed(part: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the kind of a section, and its settings that have no default."""
    known = fields(part) if is_dataclass(part) else ()
    without = [each.name for each in known if each.default is MISSING and each.default_factory is MISSING]
    return {name: settings[name] for name in ("kind", *without) if name in settings}


def _at(settings: Any, path: list[str]) -> Any:
    for key in path:
        settings = settings.get(key) if isinstance(settings, Mapping) else None
    return settings
