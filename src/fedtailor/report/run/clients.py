"""The table of a run's clients: what each has, what it did, how it fares."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ...metrics.figure import SAMPLE_LOSS, is_implied
from ...units import bytes_text, seconds_text
from ..plain import plain_table
from ..read import Run
from ..wording import metric_name, metrics_in
from .figures import arrow, by_client, number_in

WORK = ("client", "examples", "steps", "up_bytes", "seconds", "rank")  # columns of clients.parquet


def clients(run: Run, most: int = 20) -> Table | None:
    """Return a row per client: what it has, what it did, how it fares on its own held-out part; None if nothing is known."""
    figures = run.client_figures
    groups = by_client(run.rows("clients", *WORK))
    names = sorted(groups.keys() | figures.keys())
    if not names:
        return None
    table = plain_table("clients")
    known = metrics_in({name: None for _, after in figures.values() for name in after if name != SAMPLE_LOSS})
    shown = [metric for metric in known if not is_implied(metric)][:3]
    ranked = any(row.get("rank") for own in groups.values() for row in own)
    for title in ("examples", "steps", *["rank"] * ranked, *(metric_name(m) for m in shown), "sent", "time"):
        table.add_column(title, justify="right")
    for client in names[:most]:
        before, after = figures.get(client, ({}, {}))
        cells = [arrow(metric, before.get(metric), after.get(metric)) for metric in shown]
        table.add_row(client, *_work(groups.get(client), [*[_ranks(groups.get(client, []))] * ranked, *cells]))
    if len(names) > most:
        table.add_row(Text(f"and {len(names) - most} more", style="dim"))
    return table


def _work(own: list[dict[str, Any]] | None, figures: Sequence[Text | str]) -> list[str | Text]:
    """Return the cells of one client: its work before and behind its figures; dashes if it did not train."""
    if own is None:
        return ["–", "–", *figures, "–", "–"]
    examples = max(number_in(row, "examples") for row in own)  # 0: it never answered
    steps, sent, seconds = (sum(number_in(row, name) for row in own) for name in ("steps", "up_bytes", "seconds"))
    return [f"{int(examples):,}", f"{int(steps):,}", *figures, sent_text(sent), seconds_text(seconds)]


def _ranks(own: list[dict[str, Any]]) -> str:
    """Return the least and the largest rank that a client trained; a dash if it trained none."""
    ranks = [int(row["rank"]) for row in own if row.get("rank")]
    return "–".join(str(rank) for rank in sorted({min(ranks), max(ranks)})) if ranks else "–"


def sent_text(count: float) -> str:
    """Return bytes in words; a dash where nothing was sent, as in a baseline."""
    return bytes_text(count) if count else "–"
