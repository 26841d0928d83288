"""One run in tables: how good, for whom, at what cost, and a few samples."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ...metrics.figure import OF_PICTURES
from ...printable import printable
from ...run_files import shared_part
from ...units import bytes_text, flops_text, seconds_text
from ..plain import plain_table
from ..read import Run
from ..wording import figure, metric_name, metrics_in, plural
from .after import after_rounds
from .audit import audited
from .clients import clients, sent_text
from .distillation import distillation
from .figures import PHASES, arrow, judged, number_in
from .gains import gain_line
from .personal import personal
from .pictures import pictures, sheet_lines
from .prompting import prompting
from .retrieval import retrieval
from .samples import sample_tables
from .tasks import tasks

SOMETIMES = {
    "prefix_cosine": "prefix cosine",
    "task_cosine": "task cosine",
    "rank": "mean rank",  # where the server chooses the clients' ranks
    "epsilon": "epsilon",
}  # columns of rounds.parquet that only some runs have
EARLY = {
    "patience": ", stopped early: no better validation loss",
    "privacy budget": ", stopped early: the privacy budget is spent",
}
BOUNDS = {"most": " (≤ 1)", "least": " (≥ 1)", "rough": " (rough)"}  # of what was estimated
SCOPES = (("mean", "mean client"), ("worst", "worst client"), ("p10", "10th percentile"))


def show(run: Run, *, samples: int = 3) -> RenderableType:
    """Return all tables of one run, ready to print."""
    parts: list[RenderableType] = [headline(run)]
    for _, table in tables(run):
        parts += ["", table]
    parts += ["", *happened] if (happened := trouble(run)) else []
    parts.append("")
    for table in sample_tables(run, samples):
        parts += [table, ""]
    parts += sheet_lines(run)
    parts.append(Text.assemble(("result  ", "dim"), (str(run.folder), "bold")))
    if part := shared_part(run.summary, run.trained):
        parts.append(Text(part, style="yellow"))
    return Padding(Group(*parts), (1, 2), expand=False)


def tables(run: Run) -> Iterator[tuple[str, RenderableType]]:
    """Yield the tables that a run has, each with its title, in the order in which they are read."""
    made: tuple[tuple[str, RenderableType | None], ...] = (
        ("Retrieval", retrieval(run)),
        ("Before and after", quality(run)),
        ("Tasks", tasks(run)),
        ("Pictures", pictures(run)),
        ("Personal models", personal(run)),
        ("Distillation", distillation(run)),
        ("Clients", clients(run)),
        ("Rounds", prompting(run) or rounds(run)),
        ("Costs", costs(run)),
        ("Attacks of our own", audited(run)),
    )
    for title, table in made:
        if table is not None:
            yield title, table
    yield from after_rounds(run)


def headline(run: Run) -> Text:
    """Return what was run, in two lines; aggregation and personalization are named where they are not the usual ones."""
    summary, job = run.summary, run.settings
    tuning, protocol = job.get("tuning", {}), job.get("protocol", {})
    rank = f" r {_rank(tuning)}" if "rank" in tuning else ""
    baseline = f"baseline: {summary['baseline']}" if summary.get("baseline") else ""
    ways = [protocol.get("aggregation", {}).get("kind", ""), job.get("personalization", {}).get("kind", "")]
    unusual = [way for way, usual in zip(ways, ("fedavg", "none"), strict=True) if way not in (usual, "")]
    trained = "" if tuning.get("kind") in ("none", "frozen") else f"{tuning.get('kind', '')}{rank}"
    how = protocol.get("method", {}).get("kind", "")  # of prompting
    names = [str(job.get("backbone", "")), trained, protocol.get("kind", ""), how, *unusual, baseline]
    early = EARLY.get(str(summary.get("stopped_by")), "")
    line = f"{plural(int(summary.get('rounds', 0)), 'round')}{early}"
    if summary.get("unfinished"):
        line = f"{int(summary['rounds'])} of {summary.get('planned_rounds') or '?'} rounds so far"
    return Text.assemble((str(summary.get("job_name", "")), "bold"), "\n", (" · ".join(filter(None, [*names, line])), "dim"))


def _rank(tuning: Mapping[str, Any]) -> str:
    """Return the rank of a tuning, or among which the server chooses."""
    return f"auto of {', '.join(map(str, tuning['ranks']))}" if tuning.get("ranks") else str(tuning["rank"])


def quality(run: Run) -> Table | None:
    """Return a row per metric, on the whole test set (or all clients' parts) and over clients: mean, worst, 10th percentile; None if none is known."""
    summary = run.summary
    before, after = summary["metrics"].get("before", {}), summary["metrics"].get("after", {})
    table = plain_table("before → after")
    table.add_column("all clients" if summary.get("metrics_over") == "clients" else "test set", justify="right")
    table.add_column("change", justify="right")
    per_client = summary.get("clients", {})
    scopes = [(key, title) for key, title in SCOPES if per_client.get(key)]
    for _, title in scopes:
        table.add_column(title, justify="right")
    for metric in metrics_in({**after, **per_client.get("mean", {})}):  # some are known of each client, and not of all together
        if metric in OF_PICTURES:
            continue  # they have a table of their own
        then, now = before.get(metric), after.get(metric)
        cells = [arrow(metric, then, now), judged(then, now, run.higher_is_better(metric))]
        for key, _ in scopes:
            cells.append(arrow(metric, per_client.get("before", {}).get(key, {}).get(metric), per_client[key].get(metric)))
        table.add_row(metric_name(metric), *cells)
    if retained := summary.get("retained"):
        then, now = (retained[moment].get("loss") for moment in ("before", "after"))
        table.add_row("loss on general text", arrow("loss", then, now), judged(then, now, False), *[""] * len(scopes))
    return table if table.row_count else None


def rounds(run: Run) -> Table | None:
    """Return a row per round; the one that was kept is marked."""
    rows = run.rows("rounds")
    if not rows:
        return None
    table = plain_table("rounds")
    compared = [(name, title) for name, title in SOMETIMES.items() if any(name in row for row in rows)]
    for title in ("training loss", "validation loss", *(title for _, title in compared), "up", "down", "time"):
        table.add_column(title, justify="right")
    kept_round = run.summary.get("best_round") if run.summary.get("kept", "best") == "best" else max(row["round"] for row in rows)
    for row in rows:
        kept = row["round"] == kept_round
        losses = [figure("loss", row.get(name)) for name in ("train_loss", "validation_loss")]
        name = Text.assemble(str(int(row["round"])), (" ● kept" if kept else "", "green"))
        table.add_row(
            name,
            *losses,
            *(figure(name, row.get(name)) for name, _ in compared),
            sent_text(number_in(row, "up_bytes")),
            sent_text(number_in(row, "down_bytes")),
            seconds_text(number_in(row, "seconds")),
        )
    return table


def costs(run: Run) -> Table:
    """Return what it took: bytes, weights, operations, memory, time."""
    summary = run.summary
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    for name, text in [*_traffic_lines(run), *_cost_lines(summary), *_backbone_line(run), *gain_line(run), *_privacy_lines(run)]:
        table.add_row(name, text)
    return table


def _privacy_lines(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what the run promises of privacy, and against whom, if it does."""
    for text in (run.summary.get("privacy") or {}).get("sentences", []):
        yield "privacy", text


def _traffic_lines(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what was sent; nothing of a baseline, where nobody sends anything."""
    traffic = run.summary.get("traffic", {})
    for title, key in (("sent by clients", "up_bytes"), ("sent to clients", "down_bytes")):
        if not run.alone:
            yield title, f"{bytes_text(traffic.get(key, 0))} ({int(traffic.get(key, 0)):,} bytes)"


def _cost_lines(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    seconds = summary.get("seconds", {})
    yield "weights trained", f"{int(summary.get('trainable_parameters', 0)):,}"
    yield "computation", f"{flops_text(summary.get('flops', {}).get('client_total', 0))} of training, all clients together"
    yield "memory", f"{bytes_text(summary.get('memory', {}).get('peak_bytes', 0))} at the peak"
    phases = ", ".join(f"{name} {seconds_text(seconds[key])}" for key, name in PHASES if seconds.get(key))
    yield "time", seconds_text(seconds.get("total", 0)) + (f" ({phases})" if phases else "")
    rows = (summary.get("plan") or {}).get("rows", [])
    if rows:
        missed = [f"{row['what']} of {row['of']}" for row in rows if not row["within"]]
        ratios = ", ".join(f"{row['what']} of {row['of']} {row['ratio']:.2f}{BOUNDS.get(row.get('bound'), '')}" for row in rows)
        yield "measured / estimated", ratios + (f"; outside the margin: {', '.join(missed)}" if missed else "")


def _backbone_line(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what was sent of the backbone itself, once, before any run: it is in no other figure."""
    rows = run.network.get("backbone_sent", [])
    if rows:
        sites = ", ".join(str(row["site"]) for row in rows)
        yield "backbone", f"{bytes_text(sum(row['down_bytes'] for row in rows))} sent once by the server to {sites}, besides"


def trouble(run: Run, most: int = 5) -> list[Text]:
    """Return a line for each failure and warning of the run, and how many more there are."""
    events = run.events("failure", "warning", "damaged-checkpoint")
    lines = [
        Text(printable(f"{event.get('client', '')} {event.get('text') or event.get('reason', '')}".strip()), style="yellow")
        for event in events[:most]
    ]
    return lines + [Text(f"and {len(events) - most} more in events.jsonl", style="dim")] * (len(events) > most)
