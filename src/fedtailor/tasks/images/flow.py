"""Flow matching: a model learns the direction from pictures to noise along straight lines, and samples by going back.

Source: Lipman et al., 2023, arXiv:2210.02747, and Liu et al., 2023, arXiv:2209.03003, in the form of Esser et al., 2024, arXiv:2403.03206,
section 3.1: x(s) = (1 - s) x + s e with noise e, velocity e - x, and s logit-normal (location 0, scale 1). The time that a model is given is 1000 s,
as diffusers' FlowMatchEulerDiscreteScheduler has it.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ...chance import stream_seed

# B pictures, C channels, H height, W width, Q quantiles
TIMES = 1000.0  # that the time 1 is for a model
QUANTILES = 8  # times at which a held-out picture is measured

Velocity: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # x, s [B] and labels -> e - x


def velocity_of(model: nn.Module) -> Velocity:
    """Return what a model of diffusers answers, in float32, as a function of noisy pictures, the time in [0, 1] and labels."""

    def velocity(noisy_BCHW: Tensor, time_B: Tensor, label_B: Tensor | None) -> Tensor:
        answer: Any = model(noisy_BCHW, time_B * TIMES, label_B) if label_B is not None else model(noisy_BCHW, time_B * TIMES)
        found: Tensor = answer.sample.float()
        return found

    return velocity


def flow_losses(velocity: Velocity, pixels_BCHW: Tensor, noise_BCHW: Tensor, time_B: Tensor, label_B: Tensor | None) -> Tensor:
    """Return the squared error of the velocity of each picture, the mean over its values, float32 [B]."""
    time_B111 = time_B[:, None, None, None]
    noisy_BCHW = (1 - time_B111) * pixels_BCHW + time_B111 * noise_BCHW
    return (velocity(noisy_BCHW, time_B, label_B) - (noise_BCHW - pixels_BCHW)).square().mean((1, 2, 3))


def drawn_like(pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return noise and times for pictures, drawn on the CPU from torch's global stream, so that every device has the same."""
    noise_BCHW = torch.randn(pixels_BCHW.shape)
    time_B = torch.sigmoid(torch.randn(len(pixels_BCHW)))
    return noise_BCHW.to(pixels_BCHW.device), time_B.to(pixels_BCHW.device)


def fixed_times() -> Tensor:
    """Return the Q middle quantiles of the times in training, float32, rising."""
    middles_Q = (torch.arange(QUANTILES, dtype=torch.float64) + 0.5) / QUANTILES
    return torch.sigmoid(torch.special.ndtri(middles_Q)).float()


def fixed_noise(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Return the noise [B, *shape] that follows from each seed alone, drawn on the CPU."""
    return torch.stack([torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def sample_noise(seed: int, numbers: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Return the noise that the samples of these numbers begin with: whatever model, batch or device, number 7 of a seed has the same."""
    return fixed_noise([stream_seed(seed, "sample", number) for number in numbers], shape)


def integrate(velocity: Velocity, noise_BCHW: Tensor, label_B: Tensor | None, *, steps: int) -> Tensor:
    """Return pictures, float32 about -1 to 1: `steps` even steps of Euler's method from noise (time 1) to time 0."""
    at_BCHW = noise_BCHW
    times = torch.linspace(1, 0, steps + 1)
    for now, after in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        time_B = torch.full((len(at_BCHW),), now, device=at_BCHW.device)
        at_BCHW = at_BCHW + (after - now) * velocity(at_BCHW, time_B, label_B)
    return at_BCHW


def guided(velocity: Velocity, scale: float, null: int) -> Velocity:
    """Return classifier-free guidance: v0 + scale (v - v0), with v0 the answer to the label `null`; Ho and Salimans, 2022, arXiv:2207.12598."""

    def both(noisy_BCHW: Tensor, time_B: Tensor, label_B: Tensor | None) -> Tensor:
        assert label_B is not None
        labels = torch.cat([torch.full_like(label_B, null), label_B])
        plain, asked = velocity(noisy_BCHW.repeat(2, 1, 1, 1), time_B.repeat(2), labels).chunk(2)
        return plain + scale * (asked - plain)

    return both


def to_pixels(pictures_BCHW: Tensor) -> Any:
    """Return pictures of -1 to 1 as uint8 [B, H, W, C], in NumPy."""
    shown = ((pictures_BCHW.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return shown.permute(0, 2, 3, 1).contiguous().cpu().numpy()
