"""Which of several runs can be compared."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.figure import leading
from .evidence import Evidence

ALWAYS = ("name", "base", "seed")  # settings that may differ between any runs


def main_metric(evidence: Evidence) -> str:
    """Return the metric that a run is judged by first."""
    return str(leading(evidence.run.summary["metrics"]["after"]))


def runs_alike_but(key: str, runs: Sequence[Evidence]) -> list[list[Evidence]]:
    """Return groups of at least two runs whose jobs differ in one setting, or section, and in nothing else but names."""
    groups: dict[str, list[Evidence]] = {}
    for run in runs:
        left = {name: value for name, value in run.run.settings.items() if name not in ALWAYS or name == key}
        if not run.run.alone:
            groups.setdefault(json.dumps(_without(left, key.split(".")), sort_keys=True, default=str), []).append(run)
    return [group for group in groups.values() if len({_value(run, key) for run in group}) > 1]


def _value(run: Evidence, key: str) -> str:
    return json.dumps(run.setting(key), sort_keys=True, default=str)


def _without(settings: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """Return settings less the one at a path."""
    head, *rest = path
    if not rest:
        return {name: value for name, value in settings.items() if name != head}
    inner = settings.get(head)
    return {**settings, head: _without(inner, rest)} if isinstance(inner, Mapping) else dict(settings)
