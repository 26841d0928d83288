"""The charts of a comparison."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from ..page.charts.chart import COLOURS, FAINT, INK, MAIN, OTHER, Chart, draw, short, whole_rounds
from ..wording import figure, metric_name, plural
from .groups import Group, interval, spread

MEGA = 1e6
MOST_PANELS, ACROSS = 12, 3
SIGNS = "os^Dv<>P*Xhp"


def against_bytes(groups: Sequence[Group], metric: str) -> Chart | None:
    """Return the metric against what is sent, a mark for each setting; its area grows with the clients' operations."""
    points = []
    for group in groups:
        values, sent = list(group.values(metric).values()), group.mean("traffic", "up_bytes")
        if values and sent and not group.alone:
            sent += group.mean("traffic", "down_bytes") or 0.0
            points.append((group.label, sent / MEGA, fmean(values), spread(values), group.mean("flops", "client_total") or 0.0))
    flat = [(group.label, fmean(group.values(metric).values())) for group in groups if group.alone and group.values(metric)]
    if len(points) < 2:
        return None
    most = max(flops for *_, flops in points) or 1.0

    def paint(axes: Any) -> None:
        from matplotlib.ticker import LogLocator

        for place, (label, sent, mean, apart, flops) in enumerate(points):
            colour, sign = COLOURS[place % len(COLOURS)], SIGNS[place // len(COLOURS) % len(SIGNS)]
            axes.errorbar([sent], [mean], yerr=[apart], color=colour, linestyle="none", capsize=3)
            axes.scatter([sent], [mean], s=20 + 120 * flops / most, color=colour, marker=sign, label=short(label), alpha=0.8)
        for place, (label, mean) in enumerate(flat):
            axes.axhline(mean, color=FAINT, linestyle=("--", ":", "-.")[place % 3], linewidth=1, label=short(label))
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:,.10g}")
        axes.minorticks_off()
        axes.set_xlabel("MB sent by and to all clients")
        axes.set_ylabel(metric_name(metric))
        if len(points) + len(flat) <= MOST_PANELS:
            axes.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, borderpad=0.0, columnspacing=1.0)

    better = max if next(iter(groups[0].runs.values())).higher_is_better(metric) else min
    best, cheap = better(points, key=lambda point: point[2]), min(points, key=lambda point: point[1])
    return Chart(
        name="against-bytes",
        title=f"{metric_name(metric)} against bytes (n = {plural(len(points), 'setting')}, whiskers: one standard deviation over seeds)",
        caption="What lies to the left costs less to send, a larger mark more to compute. A setting that another one beats in both directions is not worth "
        "its price.",
        alternative=f"Best: {best[0]}, {figure(metric, best[2])} for {best[1]:,.3g} MB; least sent: {cheap[0]}, {figure(metric, cheap[2])} "
        f"for {cheap[1]:,.3g} MB.",
        svg=draw("against-bytes", paint, height=3.4, above=1 + (len(points) + len(flat) - 1) // 4),
    )


def convergences(groups: Sequence[Group]) -> Chart | None:
    """Return the validation loss by round of each setting, a panel each, on one scale."""
    lines = [(group.label, lines) for group in groups if (lines := [_losses(run) for run in group.runs.values()]) and any(lines)]
    if len(lines) < 2:
        return None
    shown = lines[:MOST_PANELS]
    values = [loss for _, each in shown for line in each for loss in line.values()]
    low, high = min(values), max(values)
    room = 0.05 * (high - low or 1.0)

    def paint(*panels: Any) -> None:
        for axes, (label, each) in zip(panels, shown, strict=True):
            for line in each:
                axes.plot(list(line), list(line.values()), color=MAIN, linewidth=1.0, alpha=0.8)
            axes.set_ylim(low - room, high + room)
            axes.set_title(short(label), fontsize=8)
            whole_rounds(axes)

    rows = -(-len(shown) // ACROSS)
    left_out = f", the first {MOST_PANELS} of {len(lines)}" if len(shown) < len(lines) else ""
    ends = "; ".join(
        f"{label} {figure('loss', fmean(list(line.values())[-1] for line in each if line))}" for label, each in shown
    )
    return Chart(
        name="convergences",
        title=f"Validation loss by round (n = {plural(len(lines), 'setting')}{left_out}; a line for each seed, one scale)",
        caption="Lines of one panel should lie together: seeds that part ways make a single run worth little. A line that rises again has too large a "
        "learning rate, or has begun to overfit.",
        alternative=f"At the end: {ends}.",
        svg=draw("convergences", paint, height=1.9 * rows, panels=len(shown), across=ACROSS),
    )


def _losses(run: Any) -> dict[int, float]:
    rounds, losses = run.columns("rounds", "round", "validation_loss")
    return {round: loss for round, loss in zip(rounds, losses, strict=True) if isinstance(loss, int | float)}


def paired(groups: Sequence[Group], metric: str) -> Chart | None:
    """Return the differences to the first setting by seed, with intervals of 95 %."""
    base = groups[0].values(metric)
    found = []
    for group in groups[1:]:
        own = group.values(metric)
        both = [own[seed] - base[seed] for seed in own if seed in base]
        if len(both) > 1:
            found.append((group.label, both, *interval(both)))
    if not found:
        return None
    names = [short(label) for label, *_ in found]

    def paint(axes: Any) -> None:
        for place, (_, both, mean, half) in enumerate(found):
            sure = abs(mean) > half
            axes.plot(both, [place] * len(both), color=FAINT, marker="o", markersize=3, linestyle="none")
            axes.errorbar([mean], [place], xerr=[half], color=MAIN if sure else OTHER, marker="D", markersize=5, capsize=3)
        axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(found)), names, fontsize=8)
        axes.set_ylim(len(found) - 0.4, -0.6)
        axes.set_xlabel(f"difference in {metric_name(metric)} to {short(groups[0].label)}")

    sure = [label for label, _, mean, half in found if abs(mean) > half]
    return Chart(
        name="paired",
        title=f"Differences to {groups[0].label}, seed by seed (95 % intervals; n = {min(len(b) for _, b, *_ in found)} seeds or more)",
        caption="Each small dot is one seed with both settings. An interval that crosses the dotted line says that these seeds do not distinguish the two.",
        alternative=f"Clearly different from it: {', '.join(sure) or 'none'}.",
        svg=draw("paired", paint, height=max(1.6, 0.28 * len(found) + 0.9), names={0: names}),
    )
