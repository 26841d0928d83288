"""What every way of making pictures promises."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ....pictures import Canvas
from ...evaluation import Pass
from ...losses import Losses
from ...task import Bench, Objective
from ..shard import PictureShard


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How pictures are shown in training."""

    flip: bool  # half of them mirrored
    label_dropout: float  # share of them without its label

    def mirrored(self, pixels_BCHW: Tensor) -> Tensor:
        """Return the pictures with half of them mirrored, if asked, by draws of torch's global stream on the CPU."""
        if not self.flip:
            return pixels_BCHW
        mirrored_B = torch.rand(len(pixels_BCHW)).to(pixels_BCHW.device) < 0.5
        return torch.where(mirrored_B[:, None, None, None], pixels_BCHW.flip(3), pixels_BCHW)


class Way(Protocol):
    """How a model learns to make pictures, and makes them."""

    def objectives(self, worker: Bench, shown: Shown) -> Sequence[Objective]:
        """Return what training makes smaller."""

    def losses(self, worker: Bench, shard: PictureShard, how: Pass) -> Losses | None:
        """Return the sums of the held-out loss; None if there is none that says how good a model is."""

    def draw(
        self, model: nn.Module, canvas: Canvas, noise: Tensor, label_B: Tensor | None, *, steps: int, guidance: float
    ) -> Tensor:
        """Return pictures [B, C, H, W] of about -1 to 1, float32.

        Args:
            noise: [B, *canvas.noise_shape].
            label_B: int64; `canvas.classes` stands for no label. None if the model takes none.
        """
