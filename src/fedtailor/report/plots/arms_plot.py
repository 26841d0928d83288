"""Several systems in two plots: what they reach against what they send, and where logits stop being cheaper than weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..several.arms import FEDERATED, known, point_label
from ..several.crossover import Crossover, sent
from ..several.sweep import title_of
from .plot import STYLE, save_drawing

if TYPE_CHECKING:
    import pandas as pd

MEGA = 1e6
NEAR = (1.2, 0.05)  # bytes, as a ratio, and metric, up to which points that follow each other share one label: first … last
RISES = (4, 14, -10, 24, -20, 34, -30, 44)  # points above a point at which its label may stand, best first
LETTER, LINE = 4.2, 8.0  # points that a letter of a label is wide, and a label high, about
ROOM = 2.0  # that labels have on the right, as a factor
RADIUS = 3.0  # points that a marker is wide on each side
MOST_DECADES = 3  # over which an axis of bytes has figures between powers of ten
PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5}  # behind a label, over the bars of other points


def plot_against_bytes(means: "pd.DataFrame", *, settings: Sequence[str], metric: str, folder: Path) -> list[Path]:
    """Draw a metric against the bytes that clients send and get, a point for each cell; bars are one standard deviation.

    What sends nothing, as what is run without a federation, is a line across.

    Returns:
        The files METRIC-bytes.png and METRIC-bytes.svg in `folder`; none if no cell has the metric.
    """
    means = means[means[metric].notna()] if metric in means else means[:0]
    if not len(means):
        return []
    from matplotlib.ticker import LogLocator

    def draw(axes: Any) -> None:
        labels: list[tuple[float, float, str]] = []
        points: list[tuple[float, float]] = []
        for place, (arm, cells) in enumerate(means.groupby("arm", sort=False)):
            rows, color = cells.to_dict("records"), f"C{place}"
            if rows[0]["run"] != FEDERATED or not any(map(sent, rows)):
                axes.axhline(rows[0][metric], color=color, linestyle="--", linewidth=1, label=arm)
                continue
            varied = [name for name in settings if len({row[name] for row in rows if known(row[name])}) > 1]
            for number, row in enumerate(rows):
                at = (sent(row) / MEGA, row[metric])
                deviation = row.get(f"{metric}_sd")
                axes.errorbar(
                    *at,
                    yerr=deviation if known(deviation) else 0.0,
                    marker="o",
                    capsize=3,
                    color=color,
                    label=None if number else arm,
                )
                axes.plot(*at, "o", color=color, zorder=4)  # once more, above the paper of labels
                points.append(at)
            for near in _groups(rows, metric):
                label = point_label(near[0], near[-1], settings, varied)
                labels.append((sent(near[-1]) / MEGA, near[-1][metric], label))
        axes.set_xscale("log")
        least, most = axes.get_xlim()
        axes.set_xlim(least, most * ROOM)
        between = (1, 2, 5) if most / least < 10**MOST_DECADES else (1,)
        axes.xaxis.set_major_locator(LogLocator(subs=between))
        axes.xaxis.set_major_formatter("{x:,.10g}")
        axes.minorticks_off()
        axes.set_xlabel("sent by and to all clients, MB")
        axes.set_ylabel(title_of(metric))
        _write(axes, labels, points)

    return _draw(folder, f"{metric}-bytes", draw)


def _write(axes: Any, labels: Sequence[tuple[float, float, str]], points: Sequence[tuple[float, float]]) -> None:
    """Put labels beside their points (x, y, text), each at the first place where it covers no point and no label before it."""
    axes.figure.draw_without_rendering()  # so that it is known where points lie
    scale = axes.figure.dpi / 72
    begin, end = axes.bbox.x0 / scale, axes.bbox.x1 / scale
    at = [axes.transData.transform(point) / scale for point in points]
    taken = [(across - RADIUS, across + RADIUS, up - LINE / 2) for across, up in at]  # left, right and foot
    for x, y, text in labels:
        across, up = axes.transData.transform((x, y)) / scale
        width = LETTER * len(text)
        sides = {"left": across + 4, "right": across - 4 - width}  # the side that is at the point -> where the label begins
        within = [side for side, left in sides.items() if begin <= left <= end - width] or ["left"]
        places = [(rise, side, (sides[side], sides[side] + width, up + rise)) for rise in RISES for side in within]
        rise, side, box = next((place for place in places if not any(_covers(place[2], other) for other in taken)), places[0])
        taken.append(box)
        axes.annotate(
            text,
            (x, y),
            xytext=(4 if side == "left" else -4, rise),
            textcoords="offset points",
            horizontalalignment=side,
            fontsize="x-small",
            bbox=PAPER,
        ).set_in_layout(False)  # so that points stay where they were


def _covers(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    """Return whether two lines of text, each from left to right on a foot, overlap."""
    return one[0] < other[1] and other[0] < one[1] and abs(one[2] - other[2]) < LINE


def _groups(rows: Sequence[Mapping[Any, Any]], metric: str) -> list[list[Mapping[Any, Any]]]:
    """Return an arm's cells, in their order, with those together that lie so close that their labels would cover each other."""
    groups: list[list[Mapping[Any, Any]]] = []
    for row in rows:
        if groups and _near(row, groups[-1][-1], metric):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _near(one: Mapping[Any, Any], other: Mapping[Any, Any], metric: str) -> bool:
    more, apart = NEAR
    low, high = sorted((sent(one), sent(other)))
    return high <= more * low and abs(one[metric] - other[metric]) <= apart * max(abs(one[metric]), abs(other[metric]))


def plot_crossover(crossover: Crossover, folder: Path) -> list[Path]:
    """Draw the bytes of both arms over the size of the public set, and mark where they are the same.

    Returns:
        The files crossover.png and crossover.svg in `folder`.
    """

    def draw(axes: Any) -> None:
        most = 1.1 * max([*crossover.sizes, *crossover.crossings.values()])
        line = [(crossover.base + crossover.per_item * size) / MEGA for size in (0, most)]
        axes.plot([0, most], line, color="C0", linewidth=1)
        axes.plot(
            list(crossover.sizes), [value / MEGA for value in crossover.sizes.values()], "o", color="C0", label=crossover.of
        )
        for place, (label, size) in enumerate(crossover.crossings.items(), start=1):
            height = crossover.lines[label] / MEGA
            axes.axhline(height, color=f"C{place}", linestyle="--", linewidth=1, label=f"{crossover.under}, {label}")
            axes.annotate(
                f"{crossover.dearer_from[label]:,}", (size, height), xytext=(4, -10), textcoords="offset points", fontsize="small"
            )
        axes.set_xlabel("public examples")
        axes.set_ylabel("sent by and to all clients, MB")
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, most)

    return _draw(folder, "crossover", draw)


def _draw(folder: Path, name: str, draw: Any) -> list[Path]:
    """Return the files of a plot that `draw` makes on its axes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        drawing = Figure(figsize=(7, 4.5), layout="constrained")
        axes = drawing.add_subplot()
        draw(axes)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize="small")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        files = [folder / f"{name}.{form}" for form in ("png", "svg")]
        save_drawing(drawing, files)
    return files
