"""Counts with noise, for those that may not leave a client as they are."""

import math
import random
from collections.abc import Sequence


def noised_counts(counts: Sequence[int], epsilon: float, draw: random.Random) -> list[int]:
    """Return the counts, each with two-sided geometric noise of ratio exp(-epsilon), none below 0.

    One example more or less changes one count by 1, so reporting them once is epsilon-differentially private for adding or removing an
    example (2 epsilon for replacing one). Whole numbers all through, so that no rounding of floats gives anything away but in the draws.
    Source: Ghosh, Roughgarden and Sundararajan, 2009, arXiv:0811.2841, the geometric mechanism.

    Args:
        draw: `random.SystemRandom()` but in tests: a draw that others can repeat hides nothing.
    """
    return [max(0, count + _geometric(epsilon, draw) - _geometric(epsilon, draw)) for count in counts]


def _geometric(epsilon: float, draw: random.Random) -> int:
    """Return 0, 1, 2, ... with probabilities (1 - a) a^n, a = exp(-epsilon)."""
    return math.floor(math.log(1.0 - draw.random()) / -epsilon)
