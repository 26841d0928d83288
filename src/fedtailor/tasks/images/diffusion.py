"""Diffusion: a model learns the noise in a picture (epsilon), or v, which is noise and picture in one, at one of T levels of noise.

Sources: Ho et al., 2020, arXiv:2006.11239, equation 14, for epsilon; Salimans and Ho, 2022, arXiv:2202.00512, section 2.4 and appendix D, for v; Hang et al.,
2023, arXiv:2303.09556, section 3.4, for the weights of min-SNR with gamma 5, where a loss of v counts min(SNR, 5) / (SNR + 1); Song et al., 2021,
arXiv:2010.02502, equation 12 with sigma 0, for sampling (DDIM), with pictures kept within -1 and 1 on the way as diffusers does.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from .path import Answer

# B pictures, C channels, H height, W width, T levels of noise, Q quantiles
GAMMA = 5.0  # of min-SNR
QUANTILES = 8  # levels at which a held-out picture is measured


@dataclass(frozen=True, kw_only=True)
class Diffusion:
    """A path of mixtures sqrt(kept) picture + sqrt(1 - kept) noise; a time is the number of a level, from 0 with the least noise."""

    kept: tuple[float, ...]  # share of the picture's variance at each level, falling: the alpha-bar of the sources
    answers: Literal["epsilon", "v"]

    @cached_property
    def _kept_T(self) -> Tensor:
        return torch.tensor(self.kept, dtype=torch.float32)

    def drawn(self, count: int) -> Tensor:
        """Return levels [count], int64, all alike often."""
        return torch.randint(len(self.kept), (count,))

    def fixed(self) -> Tensor:
        """Return the middle levels of Q equal parts, int64."""
        return ((torch.arange(QUANTILES) + 0.5) / QUANTILES * len(self.kept)).long()

    def losses(self, answer: Answer, pixels_BCHW: Tensor, noise_BCHW: Tensor, time_B: Tensor, label_B: Tensor | None) -> Tensor:
        """Return the weighted squared error of the answer to each picture; see `Path.losses`."""
        clear, noisy = self._shares(time_B)
        wanted = noise_BCHW if self.answers == "epsilon" else clear * noise_BCHW - noisy * pixels_BCHW
        found = answer(clear * pixels_BCHW + noisy * noise_BCHW, time_B, label_B)
        ratio_B = (clear.square() / noisy.square()).flatten()  # the SNR
        weight_B = ratio_B.clamp(max=GAMMA) / (ratio_B if self.answers == "epsilon" else ratio_B + 1)
        return weight_B * (found - wanted).square().mean((1, 2, 3))

    def sample(self, answer: Answer, noise_BCHW: Tensor, label_B: Tensor | None, *, steps: int) -> Tensor:
        """Return pictures by DDIM from the last level to clear ones; see `Path.sample`."""
        at_BCHW, top = noise_BCHW, len(self.kept)
        levels = [round(top * (1 - step / steps)) - 1 for step in range(steps)]
        for level, after in zip(levels, [*levels[1:], -1], strict=True):
            time_B = torch.full((len(at_BCHW),), level, device=at_BCHW.device)
            clear, noisy = self._shares(time_B)
            found = answer(at_BCHW, time_B, label_B)
            picture, noise = (
                ((at_BCHW - noisy * found) / clear, found)
                if self.answers == "epsilon"
                else (clear * at_BCHW - noisy * found, clear * found + noisy * at_BCHW)
            )
            left = self.kept[after] if after >= 0 else 1.0
            at_BCHW = left**0.5 * picture.clamp(-1, 1) + (1 - left) ** 0.5 * noise
        return at_BCHW

    def _shares(self, time_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return what pictures and noise are multiplied by, each [B, 1, 1, 1]."""
        kept_B111 = self._kept_T.to(time_B.device)[time_B][:, None, None, None]
        return kept_B111.sqrt(), (1 - kept_B111).sqrt()
