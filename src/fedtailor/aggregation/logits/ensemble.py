"""The ensemble of the clients' models teaches their average.

Source: Lin et al., 2020, arXiv:2006.07242, FedDF, algorithm 1: the student starts from the mean of the clients' weights by numbers of
examples, is distilled from softmax(mean of logits) on unlabeled data, and goes back to the clients as their next start.
Difference: clients send their logits beside their weights, so that the server need not run every client's model; the paper's server
computes them itself. So the logits pass the wire like those of other rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from ...interfaces import RuleTraits
from .rule import Answer, mean_of_logits


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """The mean of the clients' logits, distilled into the mean of their weights; clients start each round from the server's weights."""

    kind: Literal["ensemble"] = "ensemble"
    traits: ClassVar[RuleTraits] = RuleTraits(needs_weights=True)

    def check(self, classes: int) -> None:
        """Do nothing: the mean goes with any number of classes."""

    def combine(self, answers: Sequence[Answer], *, complete: bool) -> Tensor:
        """Return log softmax(mean of logits) [M, C], all clients alike."""
        return mean_of_logits(answers, [1.0] * len(answers))
