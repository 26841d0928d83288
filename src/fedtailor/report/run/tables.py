"""One run in tables: how good, for whom, at what cost, and a few samples."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ...metrics.figure import SAMPLE_LOSS, is_implied
from ...run_files import shared_part
from ..plain import plain_table
from ..read import Run
from ..wording import bytes_text, change, figure, flops_text, metric_name, metrics_in, plural, seconds_text
from .distillation import distillation
from .personal import personal
from .prompting import prompting
from .samples import samples_of

GAIN = ("validation_before", "validation_after")  # columns of clients.parquet
COSINES = {"prefix_cosine": "prefix cosine", "epsilon": "epsilon"}  # columns of rounds.parquet that only some runs have
EARLY = {
    "patience": ", stopped early: no better validation loss",
    "privacy budget": ", stopped early: the privacy budget is spent",
}
SCOPES = (("mean", "mean client"), ("worst", "worst client"), ("p10", "10th percentile"))


def show(run: Run, *, samples: int = 3) -> RenderableType:
    """Return all tables of one run, ready to print."""
    parts: list[RenderableType] = [headline(run), "", quality(run)]
    for table in (personal(run), distillation(run), clients(run), prompting(run) or rounds(run)):
        parts += ["", table] if table is not None else []
    parts += ["", costs(run)]
    parts += _privacy(run)
    parts += _trouble(run)
    parts += ["", *samples_of(run, samples)]
    parts.append(Text.assemble(("result  ", "dim"), (str(run.folder), "bold")))
    if part := shared_part(run.summary, run.trained):
        parts.append(Text(part, style="yellow"))
    return Padding(Group(*parts), (1, 2), expand=False)


def headline(run: Run) -> Text:
    """Return what was run, in two lines; aggregation and personalization are named where they are not the usual ones."""
    summary, job = run.summary, run.settings
    tuning, protocol = job.get("tuning", {}), job.get("protocol", {})
    rank = f" r {tuning['rank']}" if "rank" in tuning else ""
    baseline = f"baseline: {summary['baseline']}" if summary.get("baseline") else ""
    ways = [protocol.get("aggregation", {}).get("kind", ""), job.get("personalization", {}).get("kind", "")]
    told = [way for way, usual in zip(ways, ("fedavg", "none"), strict=True) if way not in (usual, "")]
    trained = "" if tuning.get("kind") == "none" else f"{tuning.get('kind', '')}{rank}"
    how = protocol.get("method", {}).get("kind", "")  # of prompting
    names = [str(job.get("backbone", "")), trained, protocol.get("kind", ""), how, *told, baseline]
    early = EARLY.get(str(summary.get("stopped_by")), "")
    line = f"{plural(int(summary.get('rounds', 0)), 'round')}{early}"
    return Text.assemble((str(summary.get("job_name", "")), "bold"), "\n", (" · ".join(filter(None, [*names, line])), "dim"))


def quality(run: Run) -> Table:
    """Return a row per metric, on the whole test set (or all clients' parts) and over clients: mean, worst, 10th percentile."""
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
        then, now = before.get(metric), after.get(metric)
        cells = [_arrow(metric, then, now), _judged(then, now, run.higher_is_better(metric))]
        for key, _ in scopes:
            cells.append(_arrow(metric, per_client.get("before", {}).get(key, {}).get(metric), per_client[key].get(metric)))
        table.add_row(metric_name(metric), *cells)
    return table


def clients(run: Run, most: int = 20) -> Table | None:
    """Return a row per client: what it has, what it did, how it fares on its own held-out part; None if nothing is known."""
    figures = _client_figures(run)
    groups = _by_client(run.rows("clients"))
    names = sorted(groups.keys() | figures.keys())
    if not names:
        return None
    table = plain_table("clients")
    known = metrics_in({name: None for _, after in figures.values() for name in after if name != SAMPLE_LOSS})
    shown = [metric for metric in known if not is_implied(metric)][:3]
    for title in ("examples", "steps", *(metric_name(m) for m in shown), "sent", "time"):
        table.add_column(title, justify="right")
    for client in names[:most]:
        before, after = figures.get(client, ({}, {}))
        table.add_row(
            client, *_work(groups.get(client), [_arrow(metric, before.get(metric), after.get(metric)) for metric in shown])
        )
    if len(names) > most:
        table.add_row(Text(f"and {len(names) - most} more", style="dim"))
    return table


def _work(own: list[dict[str, Any]] | None, figures: list[Text]) -> list[str | Text]:
    """Return the cells of one client: its work before and behind its figures; dashes if it did not train."""
    if own is None:
        return ["–", "–", *figures, "–", "–"]
    examples = max(_number(row, "examples") for row in own)  # 0: it never answered
    steps, sent, seconds = (sum(_number(row, name) for row in own) for name in ("steps", "up_bytes", "seconds"))
    return [f"{int(examples):,}", f"{int(steps):,}", *figures, _sent(sent), seconds_text(seconds)]


def _sent(count: float) -> str:
    """Return bytes in words; a dash where nothing was sent, as in a baseline."""
    return bytes_text(count) if count else "–"


def rounds(run: Run) -> Table | None:
    """Return a row per round; the one that was kept is marked."""
    rows = run.rows("rounds")
    if not rows:
        return None
    table = plain_table("rounds")
    compared = [(name, title) for name, title in COSINES.items() if any(name in row for row in rows)]
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
            _sent(_number(row, "up_bytes")),
            _sent(_number(row, "down_bytes")),
            seconds_text(_number(row, "seconds")),
        )
    return table


def costs(run: Run) -> Table:
    """Return what it took: bytes, weights, operations, memory, time."""
    summary = run.summary
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    for name, text in [*_traffic_lines(run), *_cost_lines(summary), *_backbone_line(run), *_gain_line(run)]:
        table.add_row(name, text)
    return table


def _privacy(run: Run) -> list[RenderableType]:
    """Return what the run promises of privacy, if it does."""
    privacy = run.summary.get("privacy")
    return ["", *(Text(f"privacy: {text}") for text in privacy["sentences"])] if privacy else []


def _traffic_lines(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what was sent; nothing of a baseline, where nobody sends anything."""
    traffic = run.summary.get("traffic", {})
    for title, key in (("sent by clients", "up_bytes"), ("sent to clients", "down_bytes")):
        if not run.alone:
            yield title, f"{bytes_text(traffic.get(key, 0))} ({int(traffic.get(key, 0)):,} bytes)"


def _gain_line(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what a round's local training gains on the clients' validation parts, before averaging."""
    measured = (run.summary.get("evaluation") or {}).get("local_gain")
    if measured is False:
        yield "local gain", "no such column: evaluation.local_gain is off, or clients train but a part of a model"
    if not measured or run.alone:
        return
    rows = [row for row in run.rows("clients") if all(_number(row, name) for name in GAIN)]
    if rows:
        mean = sum(_number(row, GAIN[0]) - _number(row, GAIN[1]) for row in rows) / len(rows)
        yield "local gain", f"{figure('loss', mean)} of validation loss, mean over clients and rounds"


def _cost_lines(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    seconds = summary.get("seconds", {})
    yield "weights trained", f"{int(summary.get('trainable_parameters', 0)):,}"
    yield "computation", f"{flops_text(summary.get('flops', {}).get('client_total', 0))} of training, all clients together"
    yield "memory", f"{bytes_text(summary.get('memory', {}).get('peak_bytes', 0))} at the peak"
    phases = ", ".join(f"{name} {seconds_text(seconds[key])}" for key, name in _PHASES if seconds.get(key))
    yield "time", seconds_text(seconds.get("total", 0)) + (f" ({phases})" if phases else "")


def _backbone_line(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what was sent of the backbone itself, once, before any run: it is in no other figure."""
    rows = run.network.get("backbone_sent", [])
    if rows:
        sites = ", ".join(str(row["site"]) for row in rows)
        yield "backbone", f"{bytes_text(sum(row['down_bytes'] for row in rows))} sent once by the hub to {sites}, besides"


_PHASES = (
    ("train", "training"),
    ("evaluate", "measuring"),
    ("exchange", "exchange"),
    ("server", "server"),
    ("save", "saving"),
    ("alone", "each alone"),
)


def _trouble(run: Run) -> list[RenderableType]:
    events = run.events("failure", "warning", "damaged-checkpoint")
    lines = [Text(f"{e.get('client', '')} {e.get('text') or e.get('reason', '')}".strip(), style="yellow") for e in events[:5]]
    more = [Text(f"and {len(events) - 5} more in events.jsonl", style="dim")] if len(events) > 5 else []
    return ["", *lines, *more] if events else []


def _client_figures(run: Run) -> dict[str, tuple[dict[str, float], dict[str, float]]]:
    """Return each client's figures on its own test part before the first round and in the round that was kept."""
    rows = [row for row in run.rows("evaluations") if row["scope"] == "client"]
    kept = run.summary.get("best_round") if run.summary.get("kept", "best") == "best" else None
    found = {}
    for client, own in _by_client(rows).items():
        indices = [row["round"] for row in own]
        found[client] = (_at(own, min(indices)), _at(own, max(indices)) | _at(own, kept))
    return found


def _by_client(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(str(row["client"]), []).append(row)
    return groups


def _at(rows: list[dict[str, Any]], round: object) -> dict[str, float]:
    return {str(row["metric"]): _number(row, "value") for row in rows if row["round"] == round and "value" in row}


def _arrow(metric: str, before: object, after: object) -> Text:
    if before is None and after is None:
        return Text("–", style="dim")
    return Text.assemble((f"{figure(metric, before, brief=True)} → ", "dim"), figure(metric, after, brief=True))


def _judged(before: object, after: object, higher_is_better: bool) -> Text:
    """Return the change, green if it is for the better."""
    if not isinstance(before, int | float) or not isinstance(after, int | float) or before == after:
        return Text(change(before, after), style="dim")
    return Text(change(before, after), style="green" if (after > before) == higher_is_better else "red")


def _number(row: Mapping[Any, Any], name: str) -> float:
    value = row.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
