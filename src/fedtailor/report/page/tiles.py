"""The figures that stand at the top of the page."""

from dataclasses import dataclass
from typing import Any

from ...metrics.figure import leading
from ...units import bytes_text, seconds_text
from ..read import Run
from ..wording import change, figure, metric_name


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One figure with what it says."""

    title: str
    value: str
    note: str = ""
    mood: str = ""  # better, worse or warning, as classes of the page


def tiles(run: Run) -> list[Tile]:
    """Return the leading metric before and after, the worst client, bytes, time and what is promised of privacy."""
    return [tile for tile in (_quality(run), _worst(run), _sent(run), _time(run), _privacy(run)) if tile is not None]


def _quality(run: Run) -> Tile:
    per_client = run.summary.get("clients", {})
    mean, before_mean = per_client.get("mean") or {}, (per_client.get("before") or {}).get("mean") or {}
    after, before = (mean, before_mean) if mean else (run.summary["metrics"]["after"], run.summary["metrics"].get("before", {}))
    metric = leading(after)
    then, now = before.get(metric), after.get(metric)
    over = "all clients" if run.summary.get("metrics_over") == "clients" else "test set"
    return Tile(
        title=f"{metric_name(metric)}, {'mean client' if mean else over}",
        value=f"{figure(metric, then, brief=True)} → {figure(metric, now, brief=True)}",
        note=change(then, now),
        mood=_mood(then, now, higher_is_better=run.higher_is_better(metric)),
    )


def _mood(then: Any, now: Any, *, higher_is_better: bool) -> str:
    if not isinstance(then, int | float) or not isinstance(now, int | float) or then == now:
        return ""
    return "better" if (now > then) == higher_is_better else "worse"


def _worst(run: Run) -> Tile | None:
    figures = run.client_figures
    metric = leading({name for _, after in figures.values() for name in after})
    values = {client: after[metric] for client, (_, after) in figures.items() if metric in after}
    if len(values) < 2:
        return None
    client = (min if run.higher_is_better(metric) else max)(values, key=lambda name: values[name])
    return Tile(title=f"worst client, {metric_name(metric)}", value=figure(metric, values[client], brief=True), note=client)


def _sent(run: Run) -> Tile | None:
    if run.alone:
        return None
    traffic = run.summary.get("traffic", {})
    return Tile(
        title="sent by clients",
        value=bytes_text(float(traffic.get("up_bytes", 0))),
        note=f"{bytes_text(float(traffic.get('down_bytes', 0)))} sent to them",
    )


def _time(run: Run) -> Tile:
    seconds, memory = run.summary.get("seconds", {}), run.summary.get("memory", {})
    return Tile(
        title="time",
        value=seconds_text(float(seconds.get("total", 0))),
        note=f"{bytes_text(float(memory.get('peak_bytes', 0)))} of memory at the peak",
    )


def _privacy(run: Run) -> Tile | None:
    """Return what privacy is promised; that none is, is said too."""
    if run.alone:
        return None
    spent = run.summary.get("privacy") or {}
    if "epsilon" in spent:
        return Tile(title="privacy spent", value=f"ε = {figure('', spent['epsilon'])}", note=f"at δ = {spent.get('delta')}")
    return Tile(title="privacy spent", value="no bound", note="no differential privacy was asked for", mood="warning")
