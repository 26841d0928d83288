"""Numbers as people read them."""

import math
from collections.abc import Iterable

from ..metrics import COUNTS, METRICS
from ..metrics.figure import OF_REAL

DIGITS = {name: metric.digits for name, metric in METRICS.items()} | {
    "prefix_cosine": 4,
    "task_cosine": 4,
    "rank": 1,
}  # behind the point
OWN_DIGITS = 3  # of metrics of the user's own, and of other figures
SIGNIFICANT = 3  # digits that a figure has at least, of whatever size it is
TINY, LARGE = 1e-4, 1e5  # figures below and from here on are written as 1.23e5


def metric_name(metric: str) -> str:
    """Return the usual spelling of a metric."""
    return METRICS[metric].title if metric in METRICS else metric.replace("_", " ")


def metrics_in(figures: Iterable[str]) -> list[str]:
    """Return which of some names are metrics: the known ones in the order of tables, then those of the user's own; figures of real pictures are none."""
    found = list(figures)
    own = [name for name in found if name not in METRICS and name not in COUNTS and not name.endswith(OF_REAL)]
    return [*(name for name in METRICS if name in found), *own]


def figure(metric: str, value: object, *, brief: bool = False) -> str:
    """Return a figure with the digits that mean something, one less if `brief` and never fewer than `SIGNIFICANT`; a dash if there is none."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if abs(value) >= LARGE or 0 < abs(value) < TINY:
        mantissa, power = f"{value:.{SIGNIFICANT - 1}e}".split("e")
        return f"{mantissa}e{int(power)}"
    digits = DIGITS.get(metric, OWN_DIGITS if metric else 1)
    digits -= brief and digits > 1
    digits = digits if abs(value) < 100 or not brief else 0
    if value and (abs(value) < 1 or metric not in ("", "rank")):  # ratios and mean ranks from 1 on are read as they are
        digits = max(digits, SIGNIFICANT - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def spread_figure(metric: str, value: object) -> str:
    """Return by how much figures of a metric scatter, with as many digits behind the point as the figures themselves; of less than that, with `SIGNIFICANT` digits."""
    if not isinstance(value, int | float) or not math.isfinite(value) or abs(value) >= LARGE:
        return figure(metric, value)
    plain = f"{value:,.{DIGITS.get(metric, OWN_DIGITS if metric else 1)}f}"
    return plain if not value or float(plain.replace(",", "")) else figure(metric, value)


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
