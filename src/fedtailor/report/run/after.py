"""What the phases after the rounds found of each client."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from ..plain import plain_table
from ..read import Run

SCOPES = (("mean", "mean client"), ("worst", "worst client"))


def after_rounds(run: Run, most: int = 20) -> Iterator[tuple[str, RenderableType]]:
    """Yield a table for each phase that the job lists under `after`: a row for the mean and the worst client and one per client."""
    for section, found in (run.summary.get("after") or {}).items():
        table = plain_table("")
        metrics: list[Mapping[str, Any]] = found.get("metrics", [])
        for metric in metrics:
            table.add_column(metric["title"], justify="right")
        for scope, title in SCOPES:
            table.add_row(title, *_cells(metrics, found.get(scope, {})))
        clients: Mapping[str, Any] = found.get("clients", {})
        for client, figures in list(clients.items())[:most]:
            table.add_row(Text(client, style="not bold"), *_cells(metrics, figures))
        if len(clients) > most:
            table.add_row(Text(f"and {len(clients) - most} more", style="dim"))
        yield section.replace("_", " ").capitalize(), table


def _cells(metrics: list[Mapping[str, Any]], figures: Mapping[str, float]) -> list[str]:
    """Return one row's figures; a dash for one that was not reported."""
    return [f"{figures[metric['name']]:,.{int(metric['digits'])}f}" if metric["name"] in figures else "-" for metric in metrics]
