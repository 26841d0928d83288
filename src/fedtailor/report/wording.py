"""Numbers as people read them."""

import math
from collections.abc import Iterable

from ..metrics import COUNTS, METRICS
from ..metrics.figure import OF_REAL

DIGITS = {name: metric.digits for name, metric in METRICS.items()} | {"prefix_cosine": 4, "task_cosine": 4}  # behind the point
OWN_DIGITS = 3  # of metrics of the user's own, and of other figures
LARGE = 1e5  # figures from here on are written as 1.0e5


def metric_name(metric: str) -> str:
    """Return the usual spelling of a metric."""
    return METRICS[metric].title if metric in METRICS else metric.replace("_", " ")


def metrics_in(figures: Iterable[str]) -> list[str]:
    """Return which of some names are metrics: the known ones in the order of tables, then those of the user's own; figures of real pictures are none."""
    found = list(figures)
    own = [name for name in found if name not in METRICS and name not in COUNTS and not name.endswith(OF_REAL)]
    return [*(name for name in METRICS if name in found), *own]


def figure(metric: str, value: object, *, brief: bool = False) -> str:
    """Return a figure with the digits that mean something, one less if `brief`; a dash if there is none."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if abs(value) >= LARGE:
        mantissa, power = f"{value:.{0 if brief else 1}e}".split("e")
        return f"{mantissa}e{int(power)}"
    digits = DIGITS.get(metric, OWN_DIGITS if metric else 1)
    digits -= brief and digits > 1
    return f"{value:,.{digits if abs(value) < 100 or not brief else 0}f}"


def change(before: object, after: object) -> str:
    """Return by how much a figure moved, relative to before."""
    if not (isinstance(before, int | float) and isinstance(after, int | float)) or not before:
        return ""
    if not (math.isfinite(before) and math.isfinite(after)):
        return ""
    percent = 100 * (after - before) / abs(before)
    return f"× {figure('', after / before)}" if percent > 300 else f"{percent:+.0f} %".replace("-", "−")


def plural(count: int, word: str) -> str:
    """Return a count with its noun: 1 client, 6 clients."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
