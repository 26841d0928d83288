"""Ranks of LoRA that differ per client: what goes to a client is cut to its rank, what comes from it is read in the server's scale.

The server's factors B [out, r], A [r, in] count s = alpha / r. A client of rank r_k and scale s_k is sent B[:, :r_k] s / s_k and A[:r_k], whose product
counts the same at the client as the first r_k columns and rows do at the server. Its changes of B come back times s_k / s, so that all updates are in one
scale, and no rule needs to know who has which.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from ..aggregation.factors.lowrank import is_a, is_b
from ..interfaces import Answer, Answering, Federation
from ..messages import Call, TensorSpec
from ..messages.glance import Scaled, glance, with_fields
from ..records import ClientFailure, ClientId, ClientInfo, Message, Reply
from ..tensors import Tensors, form

RANK = "rank"  # the named size of the manifest
OTHER_RANK = ClientFailure(kind="off-manifest", mark="OtherRank")


@dataclass(frozen=True, kw_only=True)
class RankOf:
    """What one client's LoRA differs in."""

    rank: int
    scale: float  # alpha / rank, of all modules
    shared_scale: float  # that of the shared factors

    def cut(self, tensors: Tensors) -> dict[str, Tensor]:
        """Return what a client is sent of the shared tensors."""
        return {name: self._cut(name, tensor) for name, tensor in tensors.items()}

    def widened(self, tensors: Tensors) -> dict[str, Tensor]:
        """Return a client's changes in the scale of the shared factors, float32; their shapes stay those of its rank."""
        factor = self.scale / self.shared_scale
        return {name: tensor.float() * factor if is_b(name) else tensor for name, tensor in tensors.items()}

    def _cut(self, name: str, tensor: Tensor) -> Tensor:
        if is_a(name):
            return tensor[: self.rank].contiguous()
        if is_b(name):
            return (tensor[:, : self.rank] * (self.shared_scale / self.scale)).contiguous()
        return tensor


@dataclass(kw_only=True)
class RankedFederation:
    """A federation in which some clients train LoRA of another rank; it speaks to each in that client's shapes."""

    inner: Federation
    ranks: Mapping[ClientId, RankOf]  # of the clients that differ
    rank: int | None = None  # of the shared factors, and so of all other clients; None: not checked
    _sent: tuple[Message, dict[RankOf, Message]] | None = field(
        default=None, init=False
    )  # the last message, as cut for each rank

    @property
    def clients(self) -> Sequence[ClientInfo]:
        return self.inner.clients

    def send(self, client: ClientId, message: Message) -> int:
        """Encode what the client is to see of `message` at once and return a ticket."""
        return self.inner.send(client, self._cut(client, message))

    def next_reply(self, timeout_s: float | None = None) -> Reply:
        """Return the next answer, in the server's scale; one of another rank than the client's is a failure."""
        return self._read(self.inner.next_reply(timeout_s))

    def cancel(self, ticket: int) -> None:
        """Forget a request that was not answered."""
        self.inner.cancel(ticket)

    def ask(self, requests: Mapping[ClientId, Message], timeout_s: float | None = None) -> Iterator[Reply]:
        """Send one request to each client and yield the answers as they come."""
        for reply in self.inner.ask({client: self._cut(client, message) for client, message in requests.items()}, timeout_s):
            yield self._read(reply)

    def _cut(self, client: ClientId, message: Message) -> Message:
        own = self._rank_of(client)
        if own is None or not message.tensors:
            return message
        if self._sent is None or self._sent[0] is not message:
            self._sent = (message, {})
        cut = self._sent[1]
        if own not in cut:
            cut[own] = replace(message, tensors=own.cut(message.tensors))
        return cut[own]

    def _rank_of(self, client: ClientId) -> RankOf | None:
        try:
            return self.ranks[client]
        except KeyError:
            return None

    def _read(self, reply: Reply) -> Reply:
        own, message = self._rank_of(reply.client), reply.message
        if message is None:
            return reply
        if own is None:
            fits = self.rank is None or has_rank(message.tensors, self.rank)
            return reply if fits else replace(reply, message=None, error=OTHER_RANK)
        scales = glance(message, Scaled).scale or ()
        if not has_rank(message.tensors, own.rank) or not all(math.isclose(scale, own.scale, rel_tol=1e-6) for scale in scales):
            return replace(reply, message=None, error=OTHER_RANK)
        widened = replace(message, tensors=own.widened(message.tensors))
        shared_scales = Scaled(scale=[own.shared_scale] * len(scales) or None)
        return replace(reply, message=with_fields(widened, shared_scales))


@dataclass(frozen=True, kw_only=True)
class OfAnyRank:
    """A client whose rank the server chooses: the part that answers is that of the rank of what came."""

    halves: Mapping[int, Answering]  # by rank; the largest answers what has no factors

    def answer(self, message: Message) -> Answer:
        """Return the reply to one message."""
        ranks = {form(message.tensors, name).shape[0] for name in message.tensors if is_a(name)}
        rank = ranks.pop() if len(ranks) == 1 else max(self.halves)
        return self.halves.get(rank, self.halves[max(self.halves)]).answer(message)


def has_rank(tensors: Tensors, rank: int) -> bool:
    """Return whether all factors are of this rank."""
    return all(form(tensors, name).shape[0 if is_a(name) else 1] == rank for name in tensors if is_a(name) or is_b(name))


def any_rank(call: Call, most: int) -> Call:
    """Return a call in whose messages LoRA factors may be of any rank up to `most`."""
    return call.shaped(_any_rank, {RANK: most})


def _any_rank(name: str, spec: TensorSpec) -> TensorSpec:
    if is_a(name):
        return replace(spec, shape=(RANK, *spec.shape[1:]))
    return replace(spec, shape=(*spec.shape[:-1], RANK)) if is_b(name) else spec
