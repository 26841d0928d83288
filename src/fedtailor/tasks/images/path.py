"""What every path between pictures and noise promises: on it a denoiser learns, and samples go back."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

Answer: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # noisy pictures, times [B] as a model takes them, labels


class Path(Protocol):
    """How noise is mixed in over time, and what a model answers to a mixture; times are of the path's own unit."""

    def drawn(self, count: int) -> Tensor:
        """Return times [count] for training, drawn on the CPU from torch's global stream."""

    def fixed(self) -> Tensor:
        """Return the Q times at which every held-out picture is measured, on the CPU, rising."""

    def losses(self, answer: Answer, pixels_BCHW: Tensor, noise_BCHW: Tensor, time_B: Tensor, label_B: Tensor | None) -> Tensor:
        """Return the loss of each picture, the mean over its values, float32 [B]."""

    def sample(self, answer: Answer, noise_BCHW: Tensor, label_B: Tensor | None, *, steps: int) -> Tensor:
        """Return pictures, float32 about -1 to 1, in so many steps from noise."""


def guided(answer: Answer, scale: float, null: int) -> Answer:
    """Return classifier-free guidance: y0 + scale (y - y0), with y0 the answer to the label `null`; Ho and Salimans, 2022, arXiv:2207.12598."""

    def both(noisy_BCHW: Tensor, time_B: Tensor, label_B: Tensor | None) -> Tensor:
        assert label_B is not None
        labels = torch.cat([torch.full_like(label_B, null), label_B])
        plain, asked = answer(noisy_BCHW.repeat(2, 1, 1, 1), time_B.repeat(2), labels).chunk(2)
        return plain + scale * (asked - plain)

    return both
