"""What stands around the federation and the rule while a sum is made."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from torch import Tensor

from ...errors import ClientError
from ...interfaces import Aggregation, Federation, RuleTraits, traits_of
from ...messages import Record, read, write
from ...messages.glance import Versioned, glance
from ...records import ClientFailure, ClientId, ClientInfo, Message, Outcome, Reply, Traffic, Update
from ...tensors import Tensors
from . import shamir
from .masks import KeyPair, mask
from .messages import (
    LEAST,
    Agreed,
    AskAgree,
    AskKeys,
    AskShares,
    Deliver,
    Delivered,
    Keys,
    Shares,
    Unmask,
    Unmasked,
    fewest,
)
from .words import UNSIGNED, Bits, FixedPoint, Words, bits_of

TRAIN = "train"  # the request of averaging, whose answers have updates
TOO_FEW = ClientFailure(kind="lost", mark="TooFewForASum")
OTHER_TENSORS = ClientFailure(kind="off-manifest", mark="OtherTensors")
NO_SUM = ClientFailure(kind="off-manifest", mark="SharesDoNotFit")
R = TypeVar("R", bound=Record)


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
class _Round:
    """One sum: who is still there, what failed, and what it cost."""

    inner: Federation
    timeout_s: float | None
    failures: dict[ClientId, ClientFailure] = field(default_factory=dict)
    traffic: dict[ClientId, Traffic] = field(default_factory=dict)

    def ask(self, requests: Mapping[ClientId, Message]) -> Iterator[tuple[ClientId, Message]]:
        """Yield the answers that came; who gave none is noted."""
        for reply in self.inner.ask(requests, self.timeout_s):
            self.traffic[reply.client] = self.traffic.get(reply.client, Traffic()) + reply.traffic
            if reply.message is None:
                self.failures[reply.client] = reply.error or TOO_FEW
            else:
                yield reply.client, reply.message

    def exchange(self, requests: Mapping[ClientId, Record], form: type[R]) -> dict[ClientId, R]:
        """Return the answers as records, in the order of clients."""
        found = {client: read(message, form) for client, message in self.ask({c: write(asked) for c, asked in requests.items()})}
        return dict(sorted(found.items()))


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
        round = _Round(inner=self.inner, timeout_s=timeout_s)
        try:
            answers, mean = self._summed(round, requests)
        except (ClientError, ValueError, LookupError):  # of shares that fit no secret: nobody can say whose
            answers, mean = {}, {}
            round.failures = {client: round.failures.get(client, NO_SUM) for client in requests}
        for client in requests:
            traffic = round.traffic.get(client, Traffic())
            if client in answers:
                yield Reply(client=client, message=replace(answers[client], tensors=mean), traffic=traffic)
            else:
                yield Reply(client=client, message=None, error=round.failures.get(client, TOO_FEW), traffic=traffic)

    def _summed(self, round: _Round, requests: Mapping[ClientId, Message]) -> tuple[dict[ClientId, Message], dict[str, Tensor]]:
        """Return the answers of those in the sum without their updates, and the mean; both empty if too few are there to the end."""
        version = max(glance(message, Versioned).version or 0 for message in requests.values())
        keys = round.exchange({client: AskKeys(version=version) for client in requests}, Keys)
        sum = _Sum(
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
            if answers and shapes != found:
                round.failures[client] = OTHER_TENSORS
                continue
            words = _words(message.tensors, self.bits)
            total, shapes = total + words if answers else words, found
            answers[client] = replace(message, tensors={})
        if len(answers) < sum.least or not sum.unmask(round, total, sorted(answers), [c for c in senders if c not in answers]):
            return {}, {}
        weight = math.fsum(self.factor(message, sum.most) for message in answers.values())
        return answers, FixedPoint(most=self.most, clients=len(keys), bits=self.bits).decode(total, shapes, weight)


@dataclass(frozen=True, kw_only=True)
class _Sum:
    """The clients of a sum, and what the server knows of their secrets: nothing, until it is given shares."""

    threshold: int
    consistency: bool
    most: int  # examples of the largest client
    keys: Mapping[ClientId, Keys]

    @property
    def least(self) -> int:
        """The fewest clients whose sum is opened."""
        return max(self.threshold, LEAST)

    def share(self, round: _Round) -> tuple[list[ClientId], list[ClientId]]:
        """Let clients share their secrets; return who did, and who has all that were sent to it."""
        clients = list(self.keys)
        everybody = AskShares(
            threshold=self.threshold,
            most_examples=self.most,
            clients=clients,
            sealing_keys=[self.keys[client].sealing_key for client in clients],
            masking_keys=[self.keys[client].masking_key for client in clients],
            signatures=[self.keys[client].signature for client in clients],
            proofs=[self.keys[client].proof for client in clients],
        )
        found = round.exchange(dict.fromkeys(clients, everybody), Shares)
        senders = [client for client, shares in found.items() if len(shares.sealed) == len(clients)]
        if len(senders) < self.least:
            return senders, []
        sealed = {c: [found[sender].sealed[clients.index(c)] for sender in senders] for c in senders}
        ready = round.exchange({c: Deliver(senders=senders, sealed=sealed[c]) for c in senders}, Delivered)
        return senders, list(ready)

    def unmask(self, round: _Round, total: Words, answered: Sequence[ClientId], dropped: Sequence[ClientId]) -> bool:
        """Take the masks off `total`, in place; return whether enough clients gave shares for that."""
        agreed = self._agreed(round, answered, dropped)
        signatures = [each.signature for each in agreed.values()]
        asked = Unmask(answered=answered, dropped=dropped, signers=list(agreed), signatures=signatures)
        opened = round.exchange(dict.fromkeys(agreed or answered, asked), Unmasked)
        if len(opened) < self.threshold:
            return False
        bits = bits_of(total)
        numbers = {client: number for number, client in enumerate(self.keys, 1)}
        for place in range(len(answered)):
            total -= mask(
                shamir.combine({numbers[c]: bytes.fromhex(each.seeds[place]) for c, each in opened.items()}), len(total), bits
            )
        for place, gone in enumerate(dropped):
            pair = KeyPair(shamir.combine({numbers[c]: bytes.fromhex(each.keys[place]) for c, each in opened.items()}))
            if pair.public.hex() != self.keys[gone].masking_key:
                raise ValueError("shares give another key than the one that a client named")
            for client in answered:
                left = mask(pair.agreed(bytes.fromhex(self.keys[client].masking_key), "mask"), len(total), bits)
                total += -left if client < gone else left
        return True

    def _agreed(self, round: _Round, answered: Sequence[ClientId], dropped: Sequence[ClientId]) -> dict[ClientId, Agreed]:
        """Return the clients' signatures under who answered and who did not; nobody's where they are not asked for."""
        if not self.consistency:
            return {}
        return round.exchange(dict.fromkeys(answered, AskAgree(answered=answered, dropped=dropped)), Agreed)


def _words(tensors: Tensors, bits: Bits) -> Words:
    """Return masked tensors as one vector, in the order of names."""
    return np.concatenate([tensors[name].numpy().reshape(-1).view(UNSIGNED[bits]) for name in sorted(tensors)])
