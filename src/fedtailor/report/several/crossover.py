"""From which size of a public set on logits cost more than weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .sweep import value_of

if TYPE_CHECKING:
    import pandas as pd

SENT = ("learning_up_bytes", "learning_down_bytes")


@dataclass(frozen=True, kw_only=True)
class Crossover:
    """Bytes of one arm as a line over the size of its public set, and those of another, which has no public set."""

    of: str
    under: str
    sizes: Mapping[float, float]  # public examples -> bytes that the arm sent, up and down, over the run
    per_item: float  # bytes that one more public example costs
    base: float  # bytes without any
    lines: Mapping[str, float]  # cell of the other arm -> its bytes

    @property
    def crossings(self) -> dict[str, float]:
        """Return the size at which the arm costs as much as each cell of the other."""
        return {label: (sent - self.base) / self.per_item for label, sent in self.lines.items()}

    @property
    def dearer_from(self) -> dict[str, int]:
        """Return the least whole size, 1 or more, at which the arm costs more than each cell of the other."""
        return {label: max(1, math.ceil(size)) for label, size in self.crossings.items()}


def find_crossover(means: "pd.DataFrame", *, of: str, along: str, under: str, by: str) -> Crossover | None:
    """Return where two arms cost the same, by least squares through the bytes of what was run.

    The bytes of a message of logits are a constant and so many for each public example, so that two sizes give the line.

    Args:
        means: a row for each cell, with the column `arm`.
        of: the arm whose bytes grow with the column `along`.
        under: the arm that it is compared with, a line for each value of the column `by`.

    Returns:
        None as long as cells of less than two sizes, or none of the other arm, are done.
    """
    import numpy as np

    done = means[means["n"] > 0]
    if along not in done:
        return None
    growing, flat = done[done["arm"] == of], done[done["arm"] == under]
    sizes: dict[float, float] = {}
    for row in growing.to_dict("records"):
        sizes.setdefault(float(row[along]), sent(row))
    if len(sizes) < 2 or not len(flat):
        return None
    per_item, base = np.polyfit(list(sizes), list(sizes.values()), 1)
    lines = {f"{by.rpartition('.')[2]} {value_of(row[by])}": sent(row) for row in flat.to_dict("records")}
    return Crossover(of=of, under=under, sizes=sizes, per_item=float(per_item), base=float(base), lines=lines)


def sent(row: Mapping[Any, Any]) -> float:
    """Return the bytes of a cell in both directions."""
    return float(sum(row[name] for name in SENT))
