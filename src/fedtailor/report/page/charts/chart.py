"""What all charts share: the size, the colours, and how a drawing becomes part of a page."""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ....printable import printable

WIDTH = 7.0  # inches
INK, FAINT = "#1a1b1e", "#8b9099"
MAIN, OTHER, THIRD, FOURTH = "#0072b2", "#d55e00", "#009e73", "#cc79a7"  # Okabe and Ito: distinguished by the colour-blind
COLOURS = (MAIN, OTHER, THIRD, FOURTH)
VARIABLES = {INK: "var(--ink)", FAINT: "var(--faint)"}  # so that a dark page has light lines
MOST_LINES = 12  # in one chart; of more, the band from best to worst
MOST_MARKS = 60  # points of a line, or columns, that are distinguished
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


def draw(name: str, paint: Callable[..., None], *, height: float = 3.0, panels: int = 1) -> str:
    """Return what `paint` draws on its axes, side by side, as SVG; the same drawing is the same text."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**STYLE, "svg.hashsalt": f"fedtailor-{name}"}):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.patch.set_alpha(0.0)
        axes = list(figure.subplots(1, panels, squeeze=False)[0])
        for one in axes:
            one.patch.set_alpha(0.0)
        paint(*axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return _in_a_page(file.getvalue(), name)


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
