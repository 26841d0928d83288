"""Clients that fail on purpose, so that a simulation shows what a run does when some of them are silent."""

from dataclasses import dataclass, field

from ..chance import stream
from ..interfaces import Answer, Answering
from ..messages.glance import Versioned, glance
from ..records import ClientId, Message

NOT_TRAINING = (
    "evaluate",
    "alone",
    "personalize",
)  # kinds of messages that are answered all the same: figures are of all clients


class SimulatedFailure(Exception):
    """A client that is to fail in this round, by clients.failure_share; none of our errors, so that it reads as one that failed."""


@dataclass(kw_only=True)
class Failing:
    """A client's part that fails in a share of the rounds, before it does any work.

    Whether it does hangs on seed, round, client and attempt alone, so a run that is resumed fails where the unbroken one did.
    """

    inner: Answering
    client: ClientId
    share: float  # of rounds, in [0, 1)
    seed: int
    _asked: dict[int, int] = field(
        default_factory=dict
    )  # how often, by version of the shared weights: a round may be tried again

    def answer(self, message: Message) -> Answer:
        """Return the client's answer.

        Raises:
            SimulatedFailure: if it fails in this round.
        """
        version = glance(message, Versioned).version
        if message.kind not in NOT_TRAINING and version is not None:
            attempt = self._asked[version] = self._asked.get(version, 0) + 1
            if stream(self.seed, f"failure-{attempt}", version + 1, self.client).random() < self.share:
                raise SimulatedFailure(
                    f"client {self.client} fails in round {version + 1}, attempt {attempt}: clients.failure_share"
                )
        return self.inner.answer(message)
