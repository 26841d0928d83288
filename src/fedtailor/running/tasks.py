"""Figures by task, where clients have several."""

from collections.abc import Mapping
from typing import Any

from ..assembly import Parts
from ..assembly.own_tasks import task_names
from ..learning.over_clients import numbers, pool
from ..records import ClientId
from .ending import End


def clients_by_task(parts: Parts) -> dict[str, list[ClientId]]:
    """Return the clients of each task, by its name."""
    names, found = task_names(parts.job), dict[str, list[ClientId]]()
    for client in parts.clients:
        found.setdefault(names.get(client, str(parts.job.task.kind)), []).append(client)
    return found


def tasks_section(end: End) -> Mapping[str, Any]:
    """Return the section of the summary, by its name: for each task its clients, and their figures pooled over their own test parts; nothing with one task."""
    parts, progress = end.parts, end.progress
    if not task_names(parts.job):
        return {}
    start, kept = progress.known(0).get("client", {}), progress.known(end.round)
    figures = {"before": start, "after": kept.get("client", {}), "personal": kept.get("personal", {})}
    no_means = parts.job.evaluation.no_means
    found: dict[str, Any] = {}
    for name, clients in clients_by_task(parts).items():
        own = {moment: [of[client] for client in clients if client in of] for moment, of in figures.items()}
        found[name] = {
            "clients": clients,
            **{moment: numbers(pool(sets, no_means=no_means)) for moment, sets in own.items() if sets},
        }
    return {"tasks": found}
