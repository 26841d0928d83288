"""Bucketing: a robust rule on the means of small groups, so that honest clients whose data differ look alike.

Source: Karimireddy, He and Jaggi, 2022, arXiv:2006.09365, algorithm 1: the updates are shuffled and averaged in buckets of s, and the rule works on the
K / s means. A hostile client spoils its whole bucket, so that the rule must stand as many hostile means.
The order is drawn from `seed` and the number of rounds behind, so that a run repeats.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from ...chance import stream
from ...errors import SettingError
from ...interfaces import RobustRule, RuleTraits, traits_of
from ...limits import ClientCount
from ...records import ClientId, Outcome, Update
from ...tensors import Tensors
from ..mean import weighted_mean
from .geometric_median import GeometricMedian
from .updates import hold

ROUND = "bucketing/round"


@dataclass(frozen=True, kw_only=True)
class Bucketing:
    """Average the updates in small groups, and let another rule choose among the means."""

    kind: Literal["bucketing"] = "bucketing"
    size: ClientCount = 2  # clients of a bucket, at least 2
    rule: RobustRule = field(default_factory=GeometricMedian)  # on the buckets' means
    seed: int = 0  # of the order in which clients fall into buckets

    def __post_init__(self) -> None:
        if self.size < 2:
            raise SettingError(f"size is the clients of a bucket, at least 2; got {self.size}; with 1 choose the rule itself")

    @property
    def traits(self) -> RuleTraits:
        """Those of the rule, whose least number is now one of buckets."""
        inner = traits_of(self.rule)
        return replace(inner, least=(inner.least - 1) * self.size + 1)

    def init(self, params: Tensors) -> Tensors:
        """Return the rule's state, and how many rounds are behind."""
        return {**self.rule.init(params), ROUND: torch.zeros(1, dtype=torch.int64)}

    def trains(self, round: int) -> Callable[[str], bool]:
        """Return what the rule trains."""
        return self.rule.trains(round)

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return what the rule makes of the means of buckets.

        Raises:
            EmptyRound: if too few updates came to fill the buckets that the rule takes.
        """
        held = sorted(hold(updates, params, self.traits).all, key=lambda update: update.client)
        order = stream(self.seed, "bucketing", int(state[ROUND])).permutation(len(held)).tolist()
        buckets = [[held[k] for k in order[start : start + self.size]] for start in range(0, len(order), self.size)]
        kept = {name: value for name, value in state.items() if name != ROUND}
        found = self.rule.combine((_mean(number, bucket) for number, bucket in enumerate(buckets)), params, kept)
        shares = dict(_of_members(buckets, found.shares))
        return replace(found, state={**found.state, ROUND: state[ROUND] + 1}, shares=shares)


def _mean(number: int, bucket: list[Update]) -> Update:
    delta = weighted_mean((update.delta, 1.0) for update in bucket)
    return replace(bucket[0], client=str(number), delta=delta, weight=1.0)


def _of_members(buckets: list[list[Update]], shares: Mapping[ClientId, float]) -> Iterable[tuple[ClientId, float]]:
    """Yield each client with its part of the share of its bucket."""
    for number, bucket in enumerate(buckets):
        if str(number) in shares:
            yield from ((update.client, shares[str(number)] / len(bucket)) for update in bucket)
