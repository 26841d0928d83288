"""The client half of split learning."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...errors import OffManifest
from ...learning.client import ClientState
from ...learning.worker import OnStep, Worker
from ...messages import answer
from ...personalization import Personalization, Turn
from ...records import Message
from ...tasks.shard import Shard
from ..evaluation import Evaluate, Evaluated, answer_evaluation, own_of
from ..personal import Personalize, Personalized, answer_personal
from .client_turn import ClientTurn
from .messages import BEGIN, END

if TYPE_CHECKING:
    from .bound import BoundSplit

__all__ = ["ClientTurn", "SplitClient"]


@dataclass(kw_only=True)
class SplitClient:
    """Answers the messages of a round one by one, "evaluate" and "personalize" with figures."""

    protocol: "BoundSplit"
    worker: Worker
    state: ClientState
    personalization: Personalization
    public: Shard | None = None
    on_step: OnStep | None = None
    sent: set[int] = field(default_factory=set, init=False)  # examples whose activations the server keeps
    _turn: "ClientTurn | None" = field(default=None, init=False)

    def answer(self, message: Message) -> Message:
        """Return the reply to one message."""
        if message.kind in (Evaluate.kind, Personalize.kind):
            return answer(message, {Evaluate: self._evaluate, Personalize: self._personalize})
        if message.kind == BEGIN:  # of a new round, or of one that is tried again: what was open is not gone on with
            self._turn = ClientTurn(self, message)
        if self._turn is None:
            raise OffManifest(f"message {message.kind!r} came before {BEGIN!r}")
        turn = self._turn
        self._turn = None  # a fault ends the conversation
        reply = turn.answer(message)
        self._turn = None if reply.kind == END else turn
        return reply

    def _evaluate(self, asked: Evaluate) -> Evaluated:
        """Measure the received weights, with the client's own of the version that the request names."""
        kept = {} if asked.own_version is None else own_of(self.state.recall(asked.own_version))
        self.worker.load(asked.shared, home=kept if self.worker.home else None)
        return answer_evaluation(self.worker, self.state, asked)

    def _personalize(self, asked: Personalize) -> Personalized:
        kept = own_of(self.state.recall(asked.version))
        self.worker.load(asked.shared, home=kept if self.worker.home else None)
        turn = Turn(
            worker=self.worker,
            state=self.state,
            shared=asked.shared,
            kept=kept,
            version=asked.version,
            local=self.protocol.local,
            sent=list(asked.shared),
        )
        return answer_personal(self.personalization, turn, public=self.public, generate=bool(asked.generate))
