"""What the pictures are like that a run's model makes, and where sheets of them are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from ...metrics.figure import OF_PICTURES, OF_REAL
from ..plain import plain_table
from ..read import Run
from ..wording import figure, metric_name
from .figures import arrow, judged

SHEETS = {"before": "before", "after": "after"}  # files of samples/ by what they are of
OWN = {"samples-shared": "shared weights", "samples-personal": "personal weights"}  # files of a client's own folder


def pictures(run: Run) -> Table | None:
    """Return a row for each metric of pictures: before and after, and what as many real pictures have in their place; None if none were measured."""
    summary = run.summary
    before, after = (summary["metrics"].get(moment, {}) for moment in ("before", "after"))
    means = {moment: of.get("mean", {}) for moment, of in _clients(summary).items()}
    known = [name for name in OF_PICTURES if name in after or name in means["after"]]
    if not known:
        return None
    table = plain_table("before → after")
    if over_test := any(name in after and summary.get("metrics_over") != "clients" for name in known):
        table.add_column(f"test set, n = {_count(after, 'samples')}", justify="right")
        table.add_column("change", justify="right")
        table.add_column(f"real, n = {_count(after, 'samples' + OF_REAL)}", justify="right")
    if any(name in means["after"] for name in known):
        table.add_column("mean client", justify="right")
    for name in known:
        cells: list[Text | str] = []
        if over_test:
            cells = [
                arrow(name, before.get(name), after.get(name)),
                judged(before.get(name), after.get(name), run.higher_is_better(name)),
            ]
            cells.append(figure(name, after.get(f"{name}{OF_REAL}")))
        if any(metric in means["after"] for metric in known):
            cells.append(arrow(name, means["before"].get(name), means["after"].get(name)))
        table.add_row(metric_name(name), *cells)
    return table


def sheets(run: Run) -> dict[str, Path]:
    """Return the sheets of pictures that the server's weights made, by what they are of."""
    found = {title: run.folder / "samples" / f"{name}.png" for name, title in SHEETS.items()}
    return {title: path for title, path in found.items() if path.is_file()}


def own_sheets(run: Run) -> list[Path]:
    """Return the sheets in the clients' own folders, as far as these are here."""
    return [path for name in OWN for path in sorted((run.folder / "clients").glob(f"*/{name}.png"))]


def sheet_lines(run: Run) -> list[Text]:
    """Return where sheets are, a line for those of the server and one for the clients' own."""
    lines = [Text.assemble(("pictures  ", "dim"), ", ".join(map(str, sheets(run).values())))] if sheets(run) else []
    own = own_sheets(run)
    if own:
        lines.append(Text.assemble(("          ", "dim"), f"{own[-1]} and {len(own) - 1} more of clients, which stay with them"))
    return lines


def _clients(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    clients = summary.get("clients", {})
    return {"before": clients.get("before") or {}, "after": clients}


def _count(figures: Mapping[str, Any], name: str) -> str:
    count = figures.get(name)
    return f"{int(count):,}" if isinstance(count, int | float) else "–"
