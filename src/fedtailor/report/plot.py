"""A sweep in one plot, as PNG and SVG."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SettingError
from .sweep import title_of, value_of

if TYPE_CHECKING:
    import pandas as pd

WIDE = 8  # largest over least value from which an axis of numbers is logarithmic
STYLE = {"svg.hashsalt": "fedtailor", "svg.fonttype": "none"}  # the same figures give the same file


def check_plots() -> None:
    """Raise SettingError, saying what to install, if there is nothing to plot with."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SettingError("the plot needs matplotlib, which is not installed: pip install 'fedtailor[plots]', or add --no-plot")


def plot_sweep(means: "pd.DataFrame", *, along: str, others: Sequence[str], metric: str, folder: Path) -> list[Path]:
    """Draw a metric against one setting, a line for each combination of the others; bars are one standard deviation.

    Args:
        means: a row for each setting: `metric`, `metric_sd` and `n`, the number of seeds.
        along: the column of the first swept setting.
        others: the columns whose values part the lines.

    Returns:
        The files sweep.png and sweep.svg in `folder`; none if there is no figure of that name.
    """
    means = means[means[metric].notna()] if metric in means.columns else means[:0]
    if not len(means):
        return []
    import matplotlib as mpl
    from matplotlib.figure import Figure

    places = _places(means[along])
    with mpl.rc_context(STYLE):
        drawing = Figure(figsize=(7, 4.5), layout="constrained")
        axes = drawing.add_subplot()
        groups = list(means.groupby(list(others), sort=False, dropna=False)) if others else [((), means)]
        for chosen, line in groups:
            at = [places[value] for value in line[along]]
            bars = line[f"{metric}_sd"].fillna(0.0) if f"{metric}_sd" in line else None
            label = ", ".join(_label(name, value) for name, value in zip(others, chosen, strict=True))
            axes.errorbar(at, line[metric], yerr=bars, marker="o", capsize=3, label=label or None)
        _dress(axes, along, metric, places, means["n"])
        if len(groups) > 1:
            axes.legend(frameon=False, fontsize="small")
        files = [folder / f"sweep.{form}" for form in ("png", "svg")]
        drawing.savefig(files[0], dpi=150)
        drawing.savefig(files[1], metadata={"Date": None})
    return files


def _label(name: str, value: object) -> str:
    return value_of(value) if name == "run" else f"{name} {value_of(value)}"


def _places(values: "pd.Series[Any]") -> dict[Any, float]:
    """Return where each value stands on the axis: numbers where they are, texts side by side."""
    known = list(dict.fromkeys(values))
    if all(isinstance(value, int | float) for value in known):
        return {value: float(value) for value in known}
    return {value: float(place) for place, value in enumerate(known)}


def _dress(axes: Any, along: str, metric: str, places: dict[Any, float], seeds: "pd.Series[int]") -> None:
    at = sorted(places.values())
    numbers = all(isinstance(value, int | float) for value in places)
    if numbers and at[0] > 0 and at[-1] / at[0] >= WIDE:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(list(places.values()), [value_of(value) for value in places])
    axes.set_xlabel(along)
    axes.set_ylabel(title_of(metric))
    least, most = int(seeds.min()), int(seeds.max())
    count = f"n = {least}" if least == most else f"n = {least} to {most}"
    axes.set_title("one run each" if most == 1 else f"mean and standard deviation over seeds, {count}", fontsize="small")
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
