"""Flow matching: a model learns the direction from pictures to noise along straight lines, and samples by going back.

Source: Lipman et al., 2023, arXiv:2210.02747, and Liu et al., 2023, arXiv:2209.03003, in the form of Esser et al., 2024, arXiv:2403.03206,
section 3.1: x(s) = (1 - s) x + s e with noise e, velocity e - x, and s logit-normal (location 0, scale 1). The time that a model is given is 1000 s,
as diffusers' FlowMatchEulerDiscreteScheduler has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...chance import stream_seed
from .path import Answer

# B pictures, C channels, H height, W width, Q quantiles
TIMES = 1000.0  # that the time 1 is for a model
QUANTILES = 8  # times at which a held-out picture is measured


@dataclass(frozen=True)
class Flow:
    """A path of straight lines; a time is the share of noise, from 0 to 1."""

    def drawn(self, count: int) -> Tensor:
        """Return logit-normal times [count]."""
        return torch.sigmoid(torch.randn(count))

    def fixed(self) -> Tensor:
        """Return the Q middle quantiles of the times in training, float32."""
        middles_Q = (torch.arange(QUANTILES, dtype=torch.float64) + 0.5) / QUANTILES
        return torch.sigmoid(torch.special.ndtri(middles_Q)).float()

    def losses(self, answer: Answer, pixels_BCHW: Tensor, noise_BCHW: Tensor, time_B: Tensor, label_B: Tensor | None) -> Tensor:
        """Return the squared error of the velocity of each picture; see `Path.losses`."""
        time_B111 = time_B[:, None, None, None]
        noisy_BCHW = (1 - time_B111) * pixels_BCHW + time_B111 * noise_BCHW
        return (answer(noisy_BCHW, time_B * TIMES, label_B) - (noise_BCHW - pixels_BCHW)).square().mean((1, 2, 3))

    def sample(self, answer: Answer, noise_BCHW: Tensor, label_B: Tensor | None, *, steps: int) -> Tensor:
        """Return pictures by even steps of Euler's method from noise (time 1) to time 0; see `Path.sample`."""
        at_BCHW = noise_BCHW
        times = torch.linspace(1, 0, steps + 1)
        for now, after in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
            time_B = torch.full((len(at_BCHW),), now, device=at_BCHW.device)
            at_BCHW = at_BCHW + (after - now) * answer(at_BCHW, time_B * TIMES, label_B)
        return at_BCHW


def fixed_noise(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Return the noise [B, *shape] that follows from each seed alone, drawn on the CPU."""
    return torch.stack([torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def sample_noise(seed: int, numbers: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Return the noise that the samples of these numbers begin with: whatever model, batch or device, number 7 of a seed has the same."""
    return fixed_noise([stream_seed(seed, "sample", number) for number in numbers], shape)


def to_pixels(pictures_BCHW: Tensor) -> Any:
    """Return pictures of -1 to 1 as uint8 [B, H, W, C], in NumPy."""
    shown = ((pictures_BCHW.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return shown.permute(0, 2, 3, 1).contiguous().cpu().numpy()
