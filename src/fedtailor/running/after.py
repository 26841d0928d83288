"""The phases that a job lists under `after`: each finds figures of every client, which become rows, and a section of the summary."""

import math
from collections.abc import Mapping
from typing import Any

from ..interfaces import ByClient, Phase
from ..metrics import Metric
from .ending import End


def carry_out_after(end: End) -> Mapping[str, Any]:
    """Carry out the phases of the job in order, and return the section of the summary that has each by its own, by name; nothing if there are none.

    Raises:
        RunError: if no client answered in one of them.
    """
    found: dict[str, Any] = {}
    for phase in end.parts.job.after:
        clients = {client: dict(figures) for client, figures in sorted(phase.carry_out(end).items())}
        for client, figures in clients.items():
            end.progress.note_figures(end.round, phase.section, client, figures)
        found[phase.section] = _section(phase, clients)
    return {"after": found} if found else {}


def _section(phase: Phase, clients: ByClient) -> dict[str, Any]:
    """Return the figures of all clients, and the mean over them and the worst of each metric; all clients count alike."""
    mean, worst = {}, {}
    for metric in phase.metrics:
        values = [figures[metric.name] for figures in clients.values() if metric.name in figures]
        if values:
            mean[metric.name] = math.fsum(values) / len(values)
            worst[metric.name] = min(values) if metric.higher_is_better else max(values)
    return {"metrics": [_described(metric) for metric in phase.metrics], "mean": mean, "worst": worst, "clients": clients}


def _described(metric: Metric) -> Mapping[str, Any]:
    """Return what a reader of the run folder must know of a metric, as it may be no one of fedtailor's."""
    return {name: getattr(metric, name) for name in ("name", "title", "higher_is_better", "digits")}
