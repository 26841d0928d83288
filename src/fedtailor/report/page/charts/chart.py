"""What all charts share: the size, the colours, and how a drawing becomes part of a page."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....printable import printable

WIDTH = 7.0  # inches
LETTER, LINE = 0.068, 0.22  # inches that a letter of a name is wide, and a line of text high, about
DIGITS = 6  # that most numbers on an axis have at most
ABOVE = 3  # the place of a legend that stands on the point that it is put to: matplotlib's lower left
INK, FAINT = "#1a1b1e", "#8b9099"
MAIN, OTHER, THIRD, FOURTH = "#0072b2", "#d55e00", "#009e73", "#cc79a7"  # Okabe and Ito: distinguished by the colour-blind
COLOURS = (MAIN, OTHER, THIRD, FOURTH)
VARIABLES = {INK: "var(--ink)", FAINT: "var(--faint)"}  # so that a dark page has light lines
MOST_LINES = 12  # in one chart; of more, the band from best to worst
MOST_MARKS = 60  # points of a line, or columns, that are distinguished
MOST_TICKS = 6  # on an axis of numbers
MOST_ROWS = 30  # of clients in one chart
STYLE = {
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "axes.formatter.useoffset": False,  # a tick says its own value: 5.73001, not 1e-5 beside 5.73
}
LONG = 22  # characters of a client's name on an axis


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One chart of the page."""

    name: str  # part of its address in the page
    title: str  # what is shown, with its unit and over how many
    caption: str  # how to read it, and what it looks like if something is wrong
    alternative: str  # its message in words, for those who do not see it
    svg: str


def draw(
    name: str,
    paint: Callable[..., None],
    *,
    height: float = 3.0,
    panels: int = 1,
    across: int = 0,
    above: int = 1,
    below: int = 0,
    names: Mapping[int, Sequence[str]] | None = None,
) -> str:
    """Return what `paint` draws on its axes, side by side, as SVG; the same drawing is the same text.

    Args:
        height: in inches.
        across: most panels side by side; 0: all.
        above: lines of a legend above a panel.
        below: further lines that names below a panel take.
        names: by panel, what stands along its side where that is no scale of numbers: it gets room.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**STYLE, "svg.hashsalt": f"fedtailor-{name}"}):
        figure = Figure(figsize=(WIDTH, height))
        figure.patch.set_alpha(0.0)
        across = min(across or panels, panels)
        axes = list(figure.subplots(-(-panels // across), across, squeeze=False).flat)
        for spare in axes[panels:]:
            spare.remove()
        axes = axes[:panels]
        for one in axes:
            one.patch.set_alpha(0.0)
        paint(*axes)
        _few_ticks(axes)
        _place(axes, height, across, (above, below), names or {})
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return _in_a_page(file.getvalue(), name)


def _few_ticks(panels: Sequence[Any]) -> None:
    """Have axes of numbers no more ticks than one reads: each costs as much time as a line of data."""
    from matplotlib.ticker import MaxNLocator

    for axis in (axis for axes in panels for axis in (axes.xaxis, axes.yaxis)):
        if isinstance(axis.get_major_locator(), MaxNLocator):
            axis.get_major_locator().set_params(nbins=MOST_TICKS)


def _place(panels: Sequence[Any], height: float, across: int, lines: tuple[int, int], names: Mapping[int, Sequence[str]]) -> None:
    """Put the panels side by side, and in rows, with room for what stands around them.

    By the number of letters: matplotlib's own layouts draw all twice to measure it, in letters that the browser replaces anyway.
    """
    rows = -(-len(panels) // across)
    wide, high = WIDTH / across, height / rows
    for place, axes in enumerate(panels):
        row, column = divmod(place, across)
        longest = max(map(len, names[place]), default=0) if place in names else DIGITS
        left = LETTER * longest + 0.12 + (LINE if axes.get_ylabel() else 0.0)
        legend = axes.get_legend()
        above = LINE * (bool(axes.get_title()) + (lines[0] if legend is not None and legend._loc == ABOVE else 0)) + 0.12
        below = (2 + lines[1]) * LINE + 0.08
        inner = (left / WIDTH, below / height, (wide - left - 0.15) / WIDTH, (high - below - above) / height)
        if len(panels) == 1:  # leaves a colour bar its share
            axes.figure.subplots_adjust(left=inner[0], bottom=inner[1], right=inner[0] + inner[2], top=inner[1] + inner[3])
        else:
            up = (rows - 1 - row) * high / height
            axes.set_position((column * wide / WIDTH + inner[0], up + inner[1], *inner[2:]))


def legend_above(axes: Any) -> None:
    """Explain the colours in a line above a panel."""
    axes.legend(fontsize=8, loc=ABOVE, bbox_to_anchor=(0.0, 1.0), ncols=4, borderpad=0.0, columnspacing=1.2)


def _in_a_page(svg: str, name: str) -> str:
    """Return a drawing without its file's head, with names that no other drawing of the page has, and the page's own colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = svg.replace("<svg ", '<svg aria-hidden="true" ', 1)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return re.sub(r"\n\s*", "\n", svg)


def columns(axes: Any, rounds: Sequence[int], heights: Sequence[float], **style: Any) -> None:
    """Draw a column for each round; of many, their outline alone, which is drawn in one piece."""
    if len(rounds) <= MOST_MARKS:
        axes.bar(rounds, heights, width=0.6, **style)
    else:
        axes.fill_between(rounds, heights, step="mid", linewidth=0, **style)


def marks(rounds: Sequence[int], sign: str = "o") -> dict[str, Any]:
    """Return the style of a line that marks its points, as long as they are few."""
    return {"marker": sign, "markersize": 3.5} if len(rounds) <= MOST_MARKS else {"linewidth": 1.0}


def whole_rounds(axes: Any) -> None:
    """Have an axis of rounds count in whole ones."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("round")


def short(name: str) -> str:
    """Return a client's name as it fits on an axis; a dollar sign begins no formula."""
    text = printable(name)
    return (text if len(text) <= LONG else f"{text[: LONG - 1]}…").replace("$", r"\$")


def both_ends(names: Sequence[str]) -> list[str]:
    """Return the names that are drawn: all, or of many the first and the last ones."""
    return [*names] if len(names) <= MOST_ROWS else [*names[: MOST_ROWS // 2], *names[-MOST_ROWS // 2 :]]


def number(value: object) -> float | None:
    """Return a cell's number; None if there is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
