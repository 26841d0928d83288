"""The client's part of a relay."""

from dataclasses import dataclass

from ...interfaces import Answer
from ...learning.client import Client
from ...learning.work import Training, Working
from ...learning.worker import OnStep, Spent
from ...messages import answer
from ...records import Message
from ...tensors import check_finite
from ..evaluation import Evaluate, Evaluated, answer_evaluation
from .messages import Leg, Run
from .settings import Relay


@dataclass(frozen=True, kw_only=True)
class RelayClient:
    """Answers each leg with what was trained."""

    settings: Relay
    client: Client
    on_step: OnStep | None = None

    def answer(self, message: Message) -> Answer:
        """Return the reply to one message."""
        return answer(message, {Leg: self._leg, Evaluate: self._evaluate})

    def _leg(self, asked: Leg) -> Working[Run]:
        client = self.client
        client.worker.load(asked.shared)
        training = Spent(client.worker)
        trained = yield Training(
            worker=client.worker,
            shard=client.train,
            settings=self.settings.local,
            round=asked.version + 1,
            client=client.id,
            rate_factor=asked.rate_factor,
            on_step=self.on_step,
        )
        check_finite(trained.delta, "weights after training")
        return Run(
            examples=len(client.train),
            steps=len(trained.losses),
            tokens=trained.tokens,
            seconds=training.working,
            delta=trained.delta,
        )

    def _evaluate(self, asked: Evaluate) -> Evaluated:
        self.client.worker.load(asked.shared)
        return answer_evaluation(self.client, asked)
