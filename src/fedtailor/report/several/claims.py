"""Claims in the terminal: a table of all, and one with its evidence."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from ..plain import plain_table

STYLES = {"reproduced": "green", "direction reproduced": "green", "mixed": "yellow", "contradicted": "red"}


def list_claims(rows: Sequence[tuple[str, str, str, str]]) -> RenderableType:
    """Return a row for each claim: its paper's arXiv number, id, verdict, and what it says."""
    table = plain_table("paper")
    for title in ("claim", "verdict", "says"):
        table.add_column(title, overflow="fold")
    for paper, name, verdict, says in rows:
        table.add_row(Text(paper, style="dim"), Text(name), Text(verdict, style=STYLES.get(verdict, "dim")), Text(says))
    words = [row[2] for row in rows]
    sums = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(sorted(words)))
    return Padding(
        Group(table, "", Text(f"{len(rows)} claims: {sums}"), Text("fedtailor claims show ID", style="dim")), (1, 2), expand=False
    )


def show_claim(
    *,
    id: str,
    paper: str,
    says: str,
    measure: str,
    verdict: str,
    runs: str,
    hours: float | None,
    reason: str,
    notes: Sequence[str],
    rows: Sequence[tuple[str, str, str, str, str]],
) -> RenderableType:
    """Return all that is known about a claim.

    Args:
        rows: of each comparison its name, effects, interval, verdict, and where its evidence is from.
    """
    table = plain_table("comparison")
    for title in ("effect by seed", "95 % interval", "verdict", "evidence"):
        table.add_column(title, overflow="fold")
    for name, effects, interval, word, where in rows:
        table.add_row(Text(name), Text(effects), Text(interval), Text(word, style=STYLES.get(word, "")), Text(where, style="dim"))
    takes = f"  (about {hours:g} hours on two cores)" if hours else ""
    parts: list[RenderableType] = [
        Text.assemble((id, "bold"), "  ", (verdict, STYLES.get(verdict, ""))),
        Text(paper, style="dim"),
        "",
        Text(says),
        Text(f"effect: {measure}", style="dim"),
        *([Text(f"why: {reason}")] if reason else []),
        "",
        table,
        *(Text(each, style="dim") for each in notes),
        *([Text(f"test  {runs}{takes}")] if runs else []),
    ]
    return Padding(Group(*parts), (1, 2), expand=False)
