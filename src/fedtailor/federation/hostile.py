"""Clients that send hostile updates on purpose, so that a simulation shows what a rule makes of them.

negative: minus the update that honest training gives (sign flip); scaled: ten times that; noise: Gaussian noise of the update's own length. All of them train honestly
first, so that figures of their work stay true, and protections see what they send as they see any update.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..chance import stream, stream_seed
from ..interfaces import Answer, Answering
from ..messages import MessageSpec
from ..messages.glance import Versioned, glance
from ..records import ClientId, Message
from ..tensors import Tensors, map_tensors, norm, pick, scale

SCALED = -10.0


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """A client's part that changes the updates it sends: all tensors that are declared to reveal one, in whatever message they go up."""

    inner: Answering
    client: ClientId
    answers: Mapping[str, MessageSpec]  # what it may answer, by kind, which says what is an update
    sends: str  # negative, scaled or noise
    seed: int

    def answer(self, message: Message) -> Answer:
        """Return the client's answer, with hostile tensors in the place of an update's."""
        found, version = self.inner.answer(message), glance(message, Versioned).version or 0
        return self._worked(found, version) if isinstance(found, Generator) else self._changed(found, version)

    def _worked(self, found: Generator[Any, Any, Message], version: int) -> Generator[Any, Any, Message]:
        return self._changed((yield from found), version)

    def _changed(self, reply: Message, version: int) -> Message:
        specs = self.answers[reply.kind].plain().tensors
        update = pick(reply.tensors, lambda name: name in specs and specs[name].reveals == "update")
        return replace(reply, tensors={**reply.tensors, **self._update(update, version)}) if update else reply

    def _update(self, honest: Tensors, version: int) -> Tensors:
        if self.sends == "noise":
            draw = torch.Generator().manual_seed(stream_seed(self.seed, "hostile", version + 1, self.client))
            drawn = map_tensors(lambda value: torch.randn(value.shape, generator=draw).to(value.dtype), honest)
            return scale(drawn, norm(honest) / (norm(drawn) or 1.0))
        return scale(honest, -1.0 if self.sends == "negative" else SCALED)


def hostile_clients(clients: Sequence[ClientId], share: float, seed: int) -> frozenset[ClientId]:
    """Return which clients are hostile throughout a run: a share of all, rounded to the nearest number, drawn by the seed alone."""
    drawn = stream(seed, "hostile").permutation(len(clients))[: round(share * len(clients))]
    return frozenset(sorted(clients)[place] for place in drawn)
