"""What a run of retrieval came to: how well passages were found, beside each client's own index, and what left the clients."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ...printable import printable
from ...units import bytes_text
from ..plain import plain_table
from ..read import Run
from ..wording import figure, plural

SEPARABLE = 0.75  # share of the clients asked, from which on a router saves little


def retrieval(run: Run) -> RenderableType | None:
    """Return a row a metric, and lines on what was asked and what left; None of other runs."""
    section = run.summary.get("retrieval")
    if not isinstance(section, Mapping):
        return None
    alone = section.get("alone") or {}
    table = plain_table("")
    for title in ("all clients", *(["each alone: mean", "best"] if alone else [])):
        table.add_column(title, justify="right")
    for metric, value in section.get("metrics", {}).items():
        values = [own[metric] for own in alone.values() if metric in own]
        own = [figure(metric, sum(values) / len(values)), figure(metric, max(values))] if values else [""] * (2 if alone else 0)
        table.add_row(metric, figure(metric, value), *own)
    lines = [Text(printable(text), style="dim") for text in _lines(run, section)]
    notes = [Text(printable(str(note)), style="yellow") for note in section.get("notes", ())]
    return Group(*([table] if section.get("metrics") else []), *lines, *notes)


def _lines(run: Run, section: Mapping[str, Any]) -> list[str]:
    clients, questions, asked = len(section.get("clients", {})), int(section.get("questions", 0)), section.get("asked", 0.0)
    found = [f"{plural(sum(section.get('clients', {}).values()), 'passage')} of {plural(clients, 'client')}"]
    if questions:
        held = section.get("answerable")
        found.append(
            f"{plural(questions, 'question')}{'' if held is None else f', {held:,} of them with a passage that a client holds'}"
        )
        saved = ": documents are not separable, routing saves little" if clients * SEPARABLE <= asked < clients else ""
        found.append(f"a question: {asked:.1f} of {clients} clients asked{saved}")
        traffic = run.summary.get("traffic", {})
        up, down = (bytes_text(traffic.get(key, 0) / questions) for key in ("up_bytes", "down_bytes"))
        found.append(f"a question: {down} to clients, {up} from clients, {section.get('texts', 0.0):.1f} texts of theirs")
    return [*found, f"share: {section.get('share')}: {section.get('lets_out')}"]
