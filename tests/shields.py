"""Protections of a user's own, as a job names them."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from fedtailor.aggregation.mean import mean_delta
from fedtailor.interfaces import RuleTraits
from fedtailor.records import Update


@dataclass(frozen=True, kw_only=True)
class Times:
    """Sends every update times a factor, and divides by it at the server."""

    factor: float = 8.0

    def leave(self, message, crossing):
        changed = {name: value * self.factor for name, value in crossing.revealing("update", message).items()}
        return replace(message, tensors={**message.tensors, **changed})

    def arrive(self, message, crossing):
        changed = {name: value / self.factor for name, value in crossing.revealing("update", message).items()}
        return replace(message, tensors={**message.tensors, **changed})


@dataclass(frozen=True, kw_only=True)
class NoNumbers:
    """Makes numbers of what is none, as a protection that rounds might."""

    def leave(self, message, crossing):
        return replace(message, tensors={name: torch.nan_to_num(value) for name, value in message.tensors.items()})

    def arrive(self, message, crossing):
        return message


@dataclass(frozen=True, kw_only=True)
class Without:
    """Takes facts that are not needed out of all messages."""

    names: tuple[str, ...] = ("first_loss",)

    def leave(self, message, crossing):
        return replace(message, facts={name: value for name, value in message.facts.items() if name not in self.names})

    def arrive(self, message, crossing):
        return message

    def shape(self, call):
        return call.lacking(self.names)


@dataclass(frozen=True, kw_only=True)
class HalvedSum:
    """Hands a rule half of the mean of all updates."""

    inner: Any
    traits: ClassVar = RuleTraits(linear=True)

    def init(self, params):
        return self.inner.init(params)

    def trains(self, round):
        return self.inner.trains(round)

    def combine(self, updates, params, state):
        mean = {name: value / 2 for name, value in mean_delta(updates).items()}
        return self.inner.combine([Update(client="", version=0, delta=mean, weight=1.0)], params, state)


@dataclass(frozen=True, kw_only=True)
class Halved:
    """Halves the mean of a round."""

    def on_sum(self, rule, plan):
        assert (plan.clients, plan.rate, plan.rounds, plan.expected) == (4, 1.0, 1, 4.0)
        return HalvedSum(inner=rule)


SEEN = []


@dataclass(kw_only=True)
class WatchedFederation:
    inner: Any

    @property
    def clients(self):
        return self.inner.clients

    def ask(self, requests, timeout_s=None):
        SEEN.extend(message.kind for message in requests.values())
        return self.inner.ask(requests, timeout_s)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Notes the kind of every request."""

    def around(self, federation):
        return WatchedFederation(inner=federation)
