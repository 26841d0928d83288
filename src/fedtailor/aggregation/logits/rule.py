"""What every aggregation of logits promises, and what it works on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ...records import ClientId

# M positions (texts, or tokens that the loss counts), C classes or tokens of the vocabulary, K clients


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one client says of some positions of the public set."""

    client: ClientId
    logp_MC: Tensor  # float32 log-probabilities, at temperature 1
    examples: float  # in the client's training part
    label_counts_C: Tensor | None = None  # float32, how many of them have each label; None where clients do not report it


class LogitAggregation(Protocol):
    """The rule that turns the clients' answers into one teacher: a frozen dataclass of settings."""

    @property
    def kind(self) -> str:
        """The name by which a job chooses it."""

    def check(self, classes: int) -> None:
        """Raise SettingError if the rule is of no use over so many classes or tokens."""

    def combine(self, answers: Sequence[Answer], *, complete: bool) -> Tensor:
        """Return the teacher's log-probabilities [M, C], float32, each row summing to 1; positions do not depend on each other.

        Args:
            answers: at least one, in the order of client ids; left as they were.
            complete: False if answers were cut to their likeliest entries, so that the rest of each is spread evenly.
        """


def log_mean(answers: Sequence[Answer], log_weights: Sequence[Tensor]) -> Tensor:
    """Return log(sum of weight * probability) [M, C], each row scaled to sum to 1.

    Args:
        log_weights: one of each answer, of a shape that spreads over [M, C]; minus infinity for no weight at all.
    """
    total = torch.stack([answer.logp_MC + weight for answer, weight in zip(answers, log_weights, strict=True)])
    return torch.log_softmax(total.logsumexp(0), dim=-1)


def mean_of_logits(answers: Sequence[Answer], weights: Sequence[float]) -> Tensor:
    """Return the softmax of the weighted mean of logits, as log-probabilities [M, C].

    Log-probabilities serve as logits: the two differ by a number for each row, which the softmax takes away.
    """
    total = sum(weights)
    mean = sum((answer.logp_MC * (weight / total) for answer, weight in zip(answers, weights, strict=True)), torch.zeros(()))
    return torch.log_softmax(mean, dim=-1)
