"""What protections need of the other techniques of a job."""

from collections.abc import Sequence

from ..interfaces import OnSum, Protection
from ..pairs import Need

OF_SUMS = (
    Need(word="updates", why="it is of sums of updates", remedy="choose protocol: averaging, or leave the protection out"),
    Need(
        word="sums",
        remedy="choose fedavg, fedavgm, fedadam, ffa-lora or another rule that is linear, or leave the protection out",
    ),
)

ONE_RANK = Need(
    word="one-rank",
    why="all clients must send the same tensors",
    remedy="give all clients one rank, or leave the protection out",
)  # of what puts updates into one payload


def needs_of(protection: Protection) -> Sequence[Need]:
    """Return what a protection needs: what it names itself, and what every one that sums the updates of a round does."""
    own: Sequence[Need] = getattr(protection, "needs", ())
    return (*own, *(OF_SUMS if isinstance(protection, OnSum) else ()))
