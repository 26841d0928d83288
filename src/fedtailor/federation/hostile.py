"""Clients that send hostile updates on purpose, so that a simulation shows what a rule makes of them.

negative: minus the update that honest training gives (sign flip); scaled: ten times that; noise: Gaussian noise of the update's own length. All of them train honestly
first, so that figures of their work stay true, and protections see what they send as they see any update.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..chance import stream, stream_seed
from ..interfaces import Answer, Answering
from ..messages.glance import Versioned, glance
from ..records import ClientId, Message
from ..tensors import Tensors, map_tensors, norm, scale

SCALED = -10.0


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """A client's part that changes the updates it sends."""

    inner: Answering
    client: ClientId
    sends: str  # negative, scaled or noise
    seed: int

    def answer(self, message: Message) -> Answer:
        """Return the client's answer, a hostile one if it is an update."""
        found = self.inner.answer(message)
        return self._changed(found, glance(message, Versioned).version or 0) if message.kind == "train" else found

    def _changed(self, found: Answer, version: int) -> Generator[Any, Any, Message]:
        reply = (yield from found) if isinstance(found, Generator) else found
        return replace(reply, tensors=self._update(reply.tensors, version))

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
