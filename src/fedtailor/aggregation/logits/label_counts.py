"""Clients weigh, class by class, by how many examples of the class they have.

The probability of class c is proportional to the sum over k of w_kc p_k(c | x), w_kc = n_kc / sum over k of n_kc. Own formula for what
arXiv:2501.04436 names as an open question, alignment by label statistics. A class that nobody has counts all clients alike.
Label counts leave the clients for it: `protocol.label_counts` must allow that, `protocol.label_epsilon` puts noise on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...errors import ShapeMismatch
from ...interfaces import RuleTraits
from .rule import Answer, log_mean


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """The mean of the clients' probabilities, each weighted for each class by its share of the class's examples."""

    kind: Literal["label-counts"] = "label-counts"
    traits: ClassVar[RuleTraits] = RuleTraits(needs_label_counts=True)

    def check(self, classes: int) -> None:
        """Do nothing: whether clients have labels to count is checked where they are counted."""

    def combine(self, answers: Sequence[Answer], *, complete: bool) -> Tensor:
        """Return log-probabilities [M, C] of the mean weighted by class.

        Raises:
            ShapeMismatch: if a client reported no counts.
        """
        counts = [answer.label_counts_C for answer in answers]
        given = [count for count in counts if count is not None]
        if len(given) < len(counts):
            raise ShapeMismatch(
                f"{len(counts) - len(given)} of {len(counts)} clients reported no label counts; set label_counts: true"
            )
        counts_KC = torch.stack(given).float()
        none_C = counts_KC.sum(0) == 0
        counts_KC = torch.where(none_C, 1.0, counts_KC)
        return log_mean(answers, list((counts_KC / counts_KC.sum(0)).log()))
