"""fedtailor check: what a job would do and send, without doing it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SettingError
from .console import err, out, print_json
from .kept_plan import Lookup
from .means import AtOnce, Bandwidth, ClientFlops, ClientMemory, Latency, means_of
from .plan import Facts, Plan, plan_of
from .run import JobFile, Overrides
from .trimmed import collection_paused
from .waiting import waiting

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..assembly import Parts
    from ..planning import Estimate, Means


def check(  # noqa: PLR0917 - Typer passes all by name
    job: JobFile,
    settings: Overrides = None,
    bandwidth: Bandwidth = None,
    latency: Latency = 0.0,
    client_memory: ClientMemory = None,
    client_flops: ClientFlops = None,
    at_once: AtOnce = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the estimate as JSON alone.")] = False,
) -> None:
    """Validate a job, resolve its data and backbone, and print what would be done, sent and spent; with options also how long and how large."""
    means = means_of(
        bandwidth=bandwidth, latency=latency, client_memory=client_memory, client_flops=client_flops, at_once=at_once
    )
    counted = means.given or as_json
    lookup = Lookup.of(job, [*(settings or []), *([f"--means {means}"] if counted else [])])
    found = lookup.kept()
    if found is None:
        found = _look(job, settings or [], lookup, means if counted else None)
    if as_json:
        print_json(found.numbers)
        return
    for part in rendered(found):
        out().print(part)


def _look(job: JobFile, settings: list[str], lookup: Lookup, means: "Means | None") -> Plan:
    """Return what a job comes to, and keep it for the next look.

    Args:
        means: what clients have, where steps are to be counted and timed; None: nothing that takes time is done.
    """
    with collection_paused(), waiting(err(), "reading the job, the data and the backbone"):
        from ..assembly import assemble
        from ..job import Job

        loaded = Job.load(job, settings)
        behind = lookup.behind(loaded)
        notes: list[str] = []
        parts = assemble(loaded, trust_times=True, warn=notes.append)
    if means is not None and means.given and not parts.protocol.evaluates:
        raise SettingError(
            "memory and seconds of a job with protocol: retrieval are not estimated; fedtailor check without these options shows what would leave each client, "
            "and summary.json of a run has what it took"
        )
    estimate = None if means is None or not parts.protocol.evaluates else _estimate(parts, means, notes)
    found = plan_of(loaded, parts, notes, estimate)
    lookup.keep(found, behind, [parts.backbone.folder, *(own.folder for own in parts.clients.backbones.values())])
    return found


def _estimate(parts: "Parts", means: "Means", notes: list[str]) -> "Estimate":
    """Return the estimate of a job, with a step counted on shapes and, where no speed is given, a few of them timed."""
    from ..planning import counts_of, estimate, program_bytes, speed_of

    program = program_bytes(parts)
    with waiting(err(), "counting a step"):
        counts = counts_of(parts, warn=notes.append)
    speed = None
    if means.client_flops is None:
        with waiting(err(), "timing a few steps"):
            speed = speed_of(parts, counts)
    return estimate(parts, means=means, counts=counts, speed=speed, program=program)


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
    yield Padding(_costs(plan), (1, 2, 0, 2), expand=False)
    yield Padding(_facts(plan.estimated), (1, 2, 1, 2), expand=False)
    for text in plan.exceeded:
        yield Padding(Text(f"too much: {text}", style="bold yellow"), (0, 2, 1, 2), expand=False)
    for text in plan.advised:
        yield Padding(Text(f"could be less: {text}"), (0, 2, 1, 2), expand=False)
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


def _costs(plan: Plan) -> "RenderableType":
    from ..report.plain import plain_table

    table = plain_table("estimated")
    for title in ("a round", "the run"):
        table.add_column(title, justify="right")
    for row in plan.costs:
        table.add_row(*row)
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
