"""The largest numbers that settings take, by what they count.

What lies beyond is a slip, and nothing that a machine could carry out: it is refused before it is computed with. Each setting names
its limit as its type; what a number means, and how small it may be, its own class says.
"""

from collections.abc import Iterator
from dataclasses import fields
from typing import Annotated, Any, get_args, get_type_hints

from annotated_types import Interval

Rounds = Annotated[int, Interval(le=100_000)]
Steps = Annotated[int, Interval(le=10_000_000)]
Epochs = Annotated[float, Interval(le=10_000)]
Count = Annotated[int, Interval(le=1_000_000_000)]  # of examples
ClientCount = Annotated[int, Interval(le=1_000_000)]
BatchSize = Annotated[int, Interval(le=65_536)]
Length = Annotated[int, Interval(le=10_000_000)]
Width = Annotated[int, Interval(le=16_384)]  # of factors, bottlenecks, prefixes: weights are made by it
Few = Annotated[int, Interval(le=1_024)]  # of beams, threads, blocks
Number = Annotated[float, Interval(le=1e9)]
LearningRate = Annotated[float, Interval(le=1_000)]

WHOLE = Interval(ge=-(2**53), le=2**53)  # of a whole number whose class names no limit
ANY = Interval(ge=-1e18, le=1e18)  # of any other number


def beyond_limits(settings: Any) -> Iterator[tuple[str, float]]:
    """Yield each field of a dataclass whose number is larger than its type permits, and the largest that it may be."""
    hints = get_type_hints(type(settings), include_extras=True)
    for item in fields(settings):
        value = getattr(settings, item.name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        hint = hints[item.name]
        marks = [mark for part in (hint, *get_args(hint)) for mark in getattr(part, "__metadata__", ())]
        most: Any = next((mark.le for mark in marks if isinstance(mark, Interval)), None)
        if most is not None and not value <= most:
            yield item.name, most
