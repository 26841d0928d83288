"""A sweep in one plot, as PNG and SVG."""

import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import SettingError
from ...storage import write_bytes
from ..several.sweep import title_of, value_of

if TYPE_CHECKING:
    import pandas as pd

APART = 0.12  # between markers of one category
DASHES = ("--", ":", "-.")  # of what does not depend on the setting along the bottom
WIDTH = 70  # characters that fit side by side below the plot
WIDE = 8  # largest over least value from which an axis of numbers is logarithmic
STYLE = {
    "svg.hashsalt": "fedtailor",  # the same figures give the same file
    "svg.fonttype": "none",
    "axes.formatter.useoffset": False,  # a tick says its own value: 5.73001, not 1e-5 beside 5.73
}


def check_plots() -> None:
    """Raise SettingError, saying what to install, if there is nothing to plot with."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SettingError("the plot needs matplotlib, which is not installed: pip install 'fedtailor[plots]', or add --no-plot")


def save_drawing(drawing: Any, files: Sequence[Path]) -> None:
    """Write a drawing in the forms that the files are named after, each as a whole."""
    for file in files:
        form, drawn = file.suffix[1:], io.BytesIO()
        drawing.savefig(drawn, format=form, **({"metadata": {"Date": None}} if form == "svg" else {"dpi": 150}))
        write_bytes(file, drawn.getvalue())


def plot_sweep(means: "pd.DataFrame", *, along: str, others: Sequence[str], metric: str, folder: Path) -> list[Path]:
    """Draw a metric against one setting, a line for each combination of the others; bars are one standard deviation.

    Values that are no numbers stand side by side, without lines between them; what does not depend on the setting is a line across.

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

    across, means = means[means[along].isna()], means[means[along].notna()]
    places, numbers = _places(means[along]), _are_numbers(means[along])
    with mpl.rc_context(STYLE):
        drawing = Figure(figsize=(7, 4.5), layout="constrained")
        axes = drawing.add_subplot()
        groups = list(means.groupby(list(others), sort=False, dropna=False)) if others else [((), means)]
        for number, (chosen, line) in enumerate(groups):
            ordered = line.sort_values(along) if numbers else line
            beside = 0.0 if numbers else APART * (number - (len(groups) - 1) / 2)
            at = [places[value] + beside for value in ordered[along]]
            bars = ordered[f"{metric}_sd"].fillna(0.0) if f"{metric}_sd" in ordered else None
            between = "-" if numbers else "none"  # nothing lies between two categories
            label = _labels(others, chosen) or None
            axes.errorbar(at, ordered[metric], yerr=bars, label=label, marker="o", capsize=3, linestyle=between)
        for number, row in enumerate(across.to_dict("records")):
            label = _labels(others, [row[name] for name in others]) or row["run"]
            axes.axhline(row[metric], color="0.4", linestyle=DASHES[number % len(DASHES)], linewidth=1, label=label)
        _dress(axes, along, metric, places, means["n"] if len(means) else across["n"], numbers=numbers)
        if len(groups) + len(across) > 1:
            drawing.legend(frameon=False, fontsize="small", loc="outside right upper")
        files = [folder / f"sweep.{form}" for form in ("png", "svg")]
        save_drawing(drawing, files)
    return files


def _labels(names: Sequence[str], values: Sequence[object]) -> str:
    """Return what a line of the plot is called: what it depends on."""
    return ", ".join(_label(name, value) for name, value in zip(names, values, strict=True) if value_of(value) != "–")


def _label(name: str, value: object) -> str:
    return value_of(value) if name == "run" else f"{name} {value_of(value)}"


def _are_numbers(values: "pd.Series[Any]") -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _places(values: "pd.Series[Any]") -> dict[Any, float]:
    """Return where each value stands on the axis: numbers where they are, texts side by side."""
    known = list(dict.fromkeys(values))
    if _are_numbers(values):
        return {value: float(value) for value in known}
    return {value: float(place) for place, value in enumerate(known)}


def _dress(axes: Any, along: str, metric: str, places: dict[Any, float], seeds: "pd.Series[int]", *, numbers: bool) -> None:
    at = sorted(places.values())
    if numbers and at and at[0] > 0 and at[-1] / at[0] >= WIDE:
        axes.set_xscale("log")
        axes.minorticks_off()
    texts = [value_of(value).replace(", ", "\n") for value in places]
    long = not numbers and max((len(line) for text in texts for line in text.split("\n")), default=0) * len(texts) > WIDTH
    axes.set_xticks(list(places.values()), texts, **({"rotation": 20, "ha": "right", "fontsize": "small"} if long else {}))
    if not numbers and at:
        axes.set_xlim(at[0] - 0.5, at[-1] + 0.5)
    axes.set_xlabel(along)
    axes.set_ylabel(title_of(metric))
    least, most = int(seeds.min()), int(seeds.max())
    count = f"n = {least}" if least == most else f"n = {least} to {most}"
    axes.set_title("one run each" if most == 1 else f"mean and standard deviation over seeds, {count}", fontsize="small")
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
