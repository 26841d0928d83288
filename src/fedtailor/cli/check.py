"""fedtailor check: what a job would do and send, without doing it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .console import err, out
from .kept_plan import Lookup
from .plan import Facts, Plan, plan_of
from .run import JobFile, Overrides
from .trimmed import collection_paused
from .waiting import waiting

if TYPE_CHECKING:
    from rich.console import RenderableType


def check(job: JobFile, settings: Overrides = None) -> None:
    """Validate a job, resolve its data and backbone, and print what would be done and sent."""
    lookup = Lookup.of(job, settings or [])
    found = lookup.kept()
    if found is None:
        found = _look(job, settings or [], lookup)
    for part in rendered(found):
        out().print(part)


def _look(job: JobFile, settings: list[str], lookup: Lookup) -> Plan:
    """Return what a job comes to, and keep it for the next look."""
    with collection_paused(), waiting(err(), "reading the job, the data and the backbone"):
        from ..assembly import assemble
        from ..job import Job

        loaded = Job.load(job, settings)
        behind = lookup.behind(loaded)
        notes: list[str] = []
        parts = assemble(loaded, trust_times=True, warn=notes.append)
        found = plan_of(loaded, parts, notes)
        lookup.keep(found, behind, [parts.backbone.folder, *(own.folder for own in parts.own_backbones.values())])
    return found


def rendered(plan: Plan) -> Iterator["RenderableType"]:
    """Yield the parts of a plan as they are printed."""
    from rich.padding import Padding
    from rich.text import Text

    yield Padding(
        Text.assemble((plan.name, "bold"), ("  is a job that can run; nothing was trained or written", "dim")), (1, 2, 0, 2)
    )
    yield Padding(_facts(plan.settings), (1, 2, 0, 2), expand=False)
    yield Padding(_clients(plan), (1, 2, 0, 2), expand=False)
    yield Padding(_facts(plan.leaving), (1, 2, 0, 2), expand=False)
    yield Padding(_facts(plan.estimated), (1, 2, 1, 2), expand=False)
    for text in plan.notes:
        yield Padding(Text(f"note: {text}", style="yellow"), (0, 2, 1, 2), expand=False)


def _clients(plan: Plan) -> "RenderableType":
    from ..report.plain import plain_table

    table = plain_table("clients")
    for title in ("train", "validation", "test", "steps a round", "up a round"):
        table.add_column(title, justify="right")
    for row in plan.clients:
        table.add_row(*row)
    if plan.more_clients:
        table.add_row(f"and {plan.more_clients} more", style="dim")
    return table


def _facts(rows: Facts) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, Text(text))
    return table
