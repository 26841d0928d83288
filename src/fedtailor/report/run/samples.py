"""A few texts that the model wrote, before and after."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from ...printable import printable
from ..read import Run

LENGTH = 240  # most characters shown of one text


def sample_tables(run: Run, most: int) -> Iterator[Table]:
    """Yield a table for each of up to `most` inputs of a run: what was wanted, and what was written before and after."""
    for row in run.samples(most):
        wanted = row.get("references") or [""]
        who = f"input ({row['client']})" if row["client"] else "input"
        yield sample({who: row.get("input"), "wanted": wanted[0], "before": row["before"], "after": row["after"]})


def sample(texts: Mapping[str, Any]) -> Table:
    """Return one sample: a line per text, its name before it; "before" is dim and "after" green."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in texts.items():
        table.add_row(name, Text(_cut(text), style={"before": "dim", "after": "green"}.get(name, "")))
    return table


def _cut(text: object) -> str:
    """Return a text on one line, cut where it is long; a dash for none."""
    flat = printable(" ".join(str(text or "").split())) or "–"
    return flat if len(flat) <= LENGTH else flat[: LENGTH - 1] + "…"
