"""What stands around the federation and the rule while a sum is made."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from ...errors import ClientError, OffManifest
from ...interfaces import Aggregation, Federation, RuleTraits, traits_of
from ...messages.glance import Versioned, glance
from ...records import ClientFailure, ClientId, ClientInfo, Message, Outcome, Reply, Traffic, Update
from ...tensors import Tensors
from .messages import fewest
from .opening import TOO_FEW, Round, Sum
from .words import UNSIGNED, Bits, FixedPoint, Words

TRAIN = "train"  # the request of averaging, whose answers have updates
OTHER_TENSORS = ClientFailure(kind="off-manifest", mark="OtherTensors")
OTHER_WEIGHT = ClientFailure(kind="off-manifest", mark="OtherWeight")
NO_SUM = ClientFailure(kind="off-manifest", mark="SharesDoNotFit")


@dataclass(frozen=True, kw_only=True)
class OfSum:
    """A rule that gets the mean of all from each client: what it says of how clients differ is left out."""

    inner: Aggregation

    @property
    def kind(self) -> str:
        """The name of the rule."""
        return str(getattr(self.inner, "kind", type(self.inner).__name__))

    @property
    def traits(self) -> RuleTraits:
        """Those of the rule, and that no single update is known."""
        return replace(traits_of(self.inner), summed=True)

    def init(self, params: Tensors) -> Tensors:
        """Return the rule's state."""
        return self.inner.init(params)

    def trains(self, round: int) -> Callable[[str], bool]:
        """Return what the rule trains."""
        return self.inner.trains(round)

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return what the rule makes of the mean."""
        found = self.inner.combine(updates, params, state)
        return replace(found, figures={name: value for name, value in found.figures.items() if name != "bias"})


@dataclass(kw_only=True)
class SummedFederation:
    """A federation in which the server opens the sum of a round's updates and no single one."""

    inner: Federation
    factor: Callable[[Message, int], float]  # what an answer counts, of at most 1, where the largest client has so many examples
    most: float  # largest value in an update
    threshold: int | None  # clients that must be there to the end; None: the fewest that may
    consistency: bool = True  # whether clients sign who dropped out before they open anything
    bits: Bits = 32  # of a word

    @property
    def clients(self) -> Sequence[ClientInfo]:
        return self.inner.clients

    def send(self, client: ClientId, message: Message) -> int:
        """Encode `message` for `client` at once and return a ticket."""
        return self.inner.send(client, message)

    def next_reply(self, timeout_s: float | None = None) -> Reply:
        """Return the next answer, whichever client's comes first."""
        return self.inner.next_reply(timeout_s)

    def cancel(self, ticket: int) -> None:
        """Forget a request that was not answered."""
        self.inner.cancel(ticket)

    def ask(self, requests: Mapping[ClientId, Message], timeout_s: float | None = None) -> Iterator[Reply]:
        """Yield the answers; those of a round of training once their sum is known, each with the mean in the place of its update."""
        if not requests or any(message.kind != TRAIN for message in requests.values()):
            yield from self.inner.ask(requests, timeout_s)
            return
        round = Round(inner=self.inner, timeout_s=timeout_s)
        try:
            answers, mean = self._summed(round, requests)
        except (ClientError, ValueError, LookupError):  # of shares that fit no secret: nobody can say whose
            answers, mean = {}, {}
            round.failures = {client: round.failures.get(client, NO_SUM) for client in requests}
        for client in requests:
            traffic = round.traffic.get(client, Traffic())
            failure = round.malformed.get(client)  # also of who is in the sum: its masked update cannot be taken out of it
            if client in answers and failure is None:
                yield Reply(client=client, message=replace(answers[client], tensors=mean), traffic=traffic)
            else:
                error = failure or round.failures.get(client, TOO_FEW)
                yield Reply(client=client, message=None, error=error, traffic=traffic)

    def _summed(self, round: Round, requests: Mapping[ClientId, Message]) -> tuple[dict[ClientId, Message], dict[str, Tensor]]:
        """Return the answers of those in the sum without their updates, and the mean; both empty if too few are there to the end."""
        version = max(glance(message, Versioned).version or 0 for message in requests.values())
        keys = round.keys(list(requests), version)
        sum = Sum(
            version=version,
            threshold=self.threshold or fewest(len(requests), consistency=self.consistency),
            consistency=self.consistency,
            most=max((info.examples for info in self.clients if info.id in keys), default=1),
            keys=keys,
        )
        if len(keys) < sum.least or sum.threshold < fewest(len(keys), consistency=self.consistency):
            return {}, {}
        senders, ready = sum.share(round)
        answers: dict[ClientId, Message] = {}
        total: Words = np.zeros(0, dtype=UNSIGNED[self.bits])
        shapes: dict[str, tuple[int, ...]] = {}
        for client, message in round.ask({client: requests[client] for client in ready}):
            found = {name: tuple(value.shape) for name, value in sorted(message.tensors.items())}
            fault = OTHER_TENSORS if answers and shapes != found else None if self._counts(message, sum.most) else OTHER_WEIGHT
            if fault is not None:
                round.failures[client] = fault
                continue
            words = _words(message.tensors, self.bits)
            total, shapes = total + words if answers else words, found
            answers[client] = replace(message, tensors={})
        if len(answers) < sum.least or not sum.unmask(round, total, sorted(answers), [c for c in senders if c not in answers]):
            return {}, {}
        weight = math.fsum(self.factor(message, sum.most) for message in answers.values())
        return answers, FixedPoint(most=self.most, clients=len(keys), bits=self.bits).decode(total, shapes, weight)

    def _counts(self, message: Message, most: int) -> bool:
        """Return whether an answer counts something, and no more than the largest client's: others could not be summed with it."""
        try:
            return self.factor(message, most) > 0
        except OffManifest:
            return False


def _words(tensors: Tensors, bits: Bits) -> Words:
    """Return masked tensors as one vector, in the order of names."""
    return np.concatenate([tensors[name].numpy().reshape(-1).view(UNSIGNED[bits]) for name in sorted(tensors)])
