"""The mean of what clients say.

Source: Li and Wang, 2019, arXiv:1910.03581, FedMD: the consensus is the unweighted mean of the class scores; the authors' code takes
logits for these. Mean probabilities are what the other rules here start from, and the one sound mean where only the likeliest entries
of each client were sent: an entry that one client left out would else pull the mean of logits down without bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .rule import Answer, log_mean, mean_of_logits


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean of the clients' logits or probabilities."""

    kind: Literal["mean"] = "mean"
    of: Literal["auto", "logits", "probabilities"] = "auto"  # auto: logits as in FedMD, probabilities where top_k is set
    weights: Literal["uniform", "examples"] = "uniform"  # a client's share: 1 as in FedMD, or its training examples

    def check(self, classes: int) -> None:
        """Do nothing: the mean goes with any number of classes."""

    def combine(self, answers: Sequence[Answer], *, complete: bool) -> Tensor:
        """Return log-probabilities [M, C]: the softmax of the mean logits, or the mean of the probabilities."""
        weights = [1.0 if self.weights == "uniform" else float(answer.examples) for answer in answers]
        if self.of == "logits" or (self.of == "auto" and complete):
            return mean_of_logits(answers, weights)
        return log_mean(answers, [torch.tensor(weight).log() for weight in weights])
