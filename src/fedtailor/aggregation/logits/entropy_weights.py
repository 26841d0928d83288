"""Clients weigh by how sure they are of each example.

w_k(x) is proportional to n_k exp(-H(p_k(x)) / temperature), H in nats. Own formula, in the manner of sample-wise ensemble weights: a
client whose examples are unlike x has nothing to say of it, and a flat answer shows it. Mind: a client can be sure and wrong.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ...errors import SettingError
from ...limits import Number
from .rule import Answer, log_mean


@dataclass(frozen=True, kw_only=True)
class EntropyWeights:
    """The mean of the clients' probabilities, each weighted at each position by its examples and by how sure it is."""

    kind: Literal["entropy-weights"] = "entropy-weights"
    temperature: Number = 1.0  # nats of entropy that cost a client a factor of e in weight

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise SettingError(f"temperature must be above 0; got {self.temperature}; 1 is usual")

    def check(self, classes: int) -> None:
        """Do nothing: the rule goes with any number of classes."""

    def combine(self, answers: Sequence[Answer], *, complete: bool) -> Tensor:
        """Return log-probabilities [M, C] of the weighted mean."""
        weights = []
        for answer in answers:
            entropy_M1 = -(answer.logp_MC.exp() * answer.logp_MC).sum(-1, keepdim=True)
            weights.append(math.log(answer.examples) - entropy_M1 / self.temperature)
        return log_mean(answers, weights)
