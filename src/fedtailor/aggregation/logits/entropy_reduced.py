"""A sharpened mean: what clients that differ agree on is made sure.

Source: Itahara et al., 2020, arXiv:2008.06180, DS-FL, entropy reduction aggregation (ERA): softmax(mean probability / T), T = 0.1. The
probabilities themselves, not their logarithms, stand in the softmax, so that the teacher is never surer than
e^(1/T) / (e^(1/T) + C - 1): over a vocabulary of 50,000 tokens it could not be sure of anything, and is refused.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...errors import SettingError
from ...limits import Number
from .rule import Answer, log_mean

LEAST_CERTAINTY = 0.5  # of what the teacher must be able to say of a class that all clients are sure of


@dataclass(frozen=True, kw_only=True)
class EntropyReduced:
    """The mean of the clients' probabilities, sharpened by a softmax."""

    kind: Literal["entropy-reduced"] = "entropy-reduced"
    temperature: Number = 0.1  # of the sharpening softmax; the smaller, the surer; 0.1 is the paper's

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise SettingError(f"temperature must be above 0; got {self.temperature}; 0.1 is the paper's")

    def check(self, classes: int) -> None:
        """Raise SettingError if a class that all are sure of would get less than half of the teacher's probability."""
        surest = 1 / (1 + (classes - 1) * math.exp(-1 / self.temperature))
        if surest < LEAST_CERTAINTY:
            raise SettingError(
                f"temperature {self.temperature:g} leaves {surest:.1%} for a class of {classes:,} that all clients are sure of; "
                f"set it below {1 / math.log(classes):.2g}, or choose aggregation: {{kind: mean}}"
            )

    def combine(self, answers: Sequence[Answer], *, complete: bool) -> Tensor:
        """Return log softmax(p / T) [M, C], p the mean of the clients' probabilities."""
        mean = log_mean(answers, [torch.zeros(())] * len(answers)).exp()
        return torch.log_softmax(mean / self.temperature, dim=-1)
