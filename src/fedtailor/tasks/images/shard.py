"""Pictures made ready for a model, and the batches of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import SettingError
from ...records import Example
from ..shard import Shard

# N pictures of all, B of a batch, C channels, H height, W width


@dataclass(frozen=True, kw_only=True)
class PictureShard:
    """Some pictures, of one size."""

    pixels_NCHW: Tensor  # uint8
    seeds_N: Tensor  # int64, of the noise that each picture is always measured with: it follows from the pixels alone
    labels_N: Tensor | None = None  # int64 class numbers; None where the model takes no label
    examples: Sequence[Example] = ()
    dropped: Sequence[tuple[str, str]] = ()

    def __len__(self) -> int:
        return len(self.pixels_NCHW)

    @property
    def sizes_N(self) -> Tensor:
        """One for each picture: all are the same work."""
        return torch.ones(len(self), dtype=torch.int64)

    def select(self, rows: Sequence[int]) -> "PictureShard":
        """Return the pictures numbered `rows`, in that order; the examples themselves and those that were dropped are left behind."""
        rows_N = torch.as_tensor(rows, dtype=torch.int64)
        return PictureShard(
            pixels_NCHW=self.pixels_NCHW[rows_N],
            seeds_N=self.seeds_N[rows_N],
            labels_N=None if self.labels_N is None else self.labels_N[rows_N],
        )


@dataclass(frozen=True, kw_only=True)
class PictureBatch:
    """Some pictures as a model takes them."""

    pixels_BCHW: Tensor  # float32, -1 to 1
    labels_B: Tensor | None  # int64
    seeds_B: Tensor  # int64
    tokens: int  # how much work it is: the pictures


def pictures_of(shard: Shard) -> PictureShard:
    """Return a shard as one of pictures.

    Raises:
        SettingError: if it is none.
    """
    if not isinstance(shard, PictureShard):
        raise SettingError(
            f"a {type(shard).__name__} holds no pictures, which this part of the job works on; choose a task of images"
        )
    return shard


def picture_batch(shard: PictureShard, rows: Sequence[int], device: torch.device) -> PictureBatch:
    """Return the pictures numbered `rows` on a device."""
    some = shard.select(rows)
    return PictureBatch(
        pixels_BCHW=some.pixels_NCHW.to(device).float() / 127.5 - 1,
        labels_B=None if some.labels_N is None else some.labels_N.to(device),
        seeds_B=some.seeds_N,
        tokens=len(rows),
    )
