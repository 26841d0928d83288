"""Clients that fail on purpose, so that a simulation shows what a run does when some of them are silent."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..chance import stream
from ..interfaces import Answer, Answering
from ..messages import MessageSpec
from ..messages.glance import Versioned, glance
from ..records import ClientId, Message


class SimulatedFailure(Exception):
    """A client that is to fail in this round, by clients.failure_share; none of our errors, so that it reads as one that failed."""


@dataclass(kw_only=True)
class Failing:
    """A client's part that fails in a share of the rounds, before it does any work.

    Whether it does hangs on seed, round, client and attempt alone, so a run that is resumed fails where the unbroken one did. Requests that train no
    round are answered all the same: figures, and what happens after the last round, are of all clients.
    """

    inner: Answering
    client: ClientId
    requests: Mapping[str, MessageSpec]  # what it may be asked, by kind, which says what trains a round
    share: float  # of rounds, in [0, 1)
    seed: int
    _asked: dict[int, int] = field(default_factory=dict)  # how often, by round: one may be tried again

    def answer(self, message: Message) -> Answer:
        """Return the client's answer.

        Raises:
            SimulatedFailure: if it fails in this round.
        """
        round = self.round_of(message)
        if round is not None:
            attempt = self._asked[round] = self._asked.get(round, 0) + 1
            if stream(self.seed, f"failure-{attempt}", round, self.client).random() < self.share:
                raise SimulatedFailure(f"client {self.client} fails in round {round}, attempt {attempt}: clients.failure_share")
        return self.inner.answer(message)

    def round_of(self, message: Message) -> int | None:
        """Return the round that a request asks to train, from 1; None if it asks for none."""
        version = glance(message, Versioned).version
        return None if version is None or self.requests[message.kind].trains != "round" else version + 1
