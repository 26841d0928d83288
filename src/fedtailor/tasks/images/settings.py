"""What a job says of the pictures that a run makes to be measured and looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...errors import SettingError
from ...limits import BatchSize, Count, Few, Number, Steps
from .sampling import Sampling


@dataclass(frozen=True, kw_only=True)
class Samples:
    """How many pictures are made, of which labels, and how."""

    count: Count = 500  # at the server; distances fall with it, so that only figures of one count can be compared; at a client at most as many as it holds out
    labels: Literal["even", "own"] = (
        "even"  # each label that the pictures to compare with have, in turn; or as often as these have it
    )
    steps: Steps = Sampling.steps  # from noise to picture
    guidance: Number = Sampling.guidance  # 1: none; more of it makes pictures more typical and less varied
    batch: BatchSize = Sampling.batch  # pictures at a time; figures do not depend on it
    grid: Sequence[Few] | None = (
        5,
        10,
    )  # rows and columns of the sheet of pictures that a run keeps before and after; null: none

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 2:
            raise SettingError(f"count is a number of pictures, at least 2; got {self.count!r}; 500 to 2,500 are usual")
        if self.labels not in ("even", "own"):
            raise SettingError(f"labels is even or own; got {self.labels!r}")
        if self.grid is not None:
            sides = tuple(self.grid)
            if len(sides) != 2 or any(
                isinstance(side, bool) or not isinstance(side, int) or not 1 <= side <= 40 for side in sides
            ):
                raise SettingError(f"grid is [rows, columns], each from 1 to 40, or null; got {self.grid!r}")
            object.__setattr__(self, "grid", sides)
        self.sampling(0)

    def sampling(self, seed: int) -> Sampling:
        """Return how pictures are made, from the noise of a seed.

        Raises:
            SettingError: if a setting of it is none.
        """
        return Sampling(steps=self.steps, guidance=self.guidance, batch=self.batch, seed=seed)


def labels_to_ask(have: Sequence[int], count: int, how: Literal["even", "own"]) -> list[int]:
    """Return the class numbers that `count` pictures are asked for, where the pictures to compare with have the labels `have`.

    Args:
        how: even: each label that occurs, in turn; own: in the shares in which they occur, rounded so that they add up to `count`.
    """
    known, times = np.unique(np.asarray(have), return_counts=True)
    if how == "even":
        return [int(known[number % len(known)]) for number in range(count)]
    middles = (np.arange(count) + 0.5) / count * len(have)
    return [int(label) for label in known[np.searchsorted(times.cumsum(), middles, side="right")]]
