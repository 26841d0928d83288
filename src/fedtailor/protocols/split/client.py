"""The client's part of split learning."""

from dataclasses import dataclass, field

from ...errors import OffManifest
from ...interfaces import Answer
from ...learning.client import Client
from ...learning.work import Working
from ...learning.worker import OnStep
from ...messages import answer, state_of
from ...personalization import Personalization, Turn
from ...records import Message
from ...tasks.shard import Shard
from ...tensors import Tensors
from ..evaluation import Evaluate, Evaluated, answer_evaluation
from ..personal import Personalize, Personalized, answer_personal
from .client_turn import ClientTurn
from .messages import Ahead, Begin, End, Gradient, Hidden, ToClient, ToServer
from .state import Kept
from .terms import Terms


@dataclass(kw_only=True)
class SplitClient:
    """Answers the messages of a round one by one, "evaluate" and "personalize" with figures."""

    terms: Terms
    client: Client
    personalization: Personalization
    public: Shard | None = None
    on_step: OnStep | None = None
    sent: set[int] = field(default_factory=set, init=False)  # examples whose activations the server keeps
    _turn: ClientTurn | None = field(default=None, init=False)

    def answer(self, message: Message) -> Answer:
        """Return the reply to one message."""
        return answer(
            message,
            {
                Begin: self._begin,
                Ahead: self._continue,
                Hidden: self._continue,
                Gradient: self._continue,
                Evaluate: self._evaluate,
                Personalize: self._personalize,
            },
        )

    def _begin(self, asked: Begin) -> ToServer:
        """Begin a new round, or one that is tried again: what was open is dropped."""
        self._turn = None
        self._turn = ClientTurn(self.terms, self.client, asked, sent=self.sent, on_step=self.on_step)
        return self._continue(asked)

    def _continue(self, asked: ToClient) -> ToServer:
        turn, self._turn = self._turn, None  # a fault ends the conversation
        if turn is None:
            raise OffManifest(f"message {asked.kind!r} came before {Begin.kind!r}")
        said = turn.answer(asked)
        self._turn = None if isinstance(said, End) else turn
        return said

    def _evaluate(self, asked: Evaluate) -> Evaluated:
        """Measure the received weights, with the client's own of the version that the request names."""
        kept = {} if asked.own_version is None else self._own(asked.own_version)
        self.client.worker.load(asked.shared, home=kept if self.client.worker.home else None)
        return answer_evaluation(self.client, asked)

    def _own(self, version: int) -> Tensors:
        return state_of(Kept, self.client.store.recall(version)).own

    def _personalize(self, asked: Personalize) -> Working[Personalized]:
        kept = self._own(asked.version)
        self.client.worker.load(asked.shared, home=kept if self.client.worker.home else None)
        turn = Turn(
            client=self.client,
            shared=asked.shared,
            kept=kept,
            version=asked.version,
            local=self.terms.local,
            sent=list(asked.shared),
        )
        return (yield from answer_personal(self.personalization, turn, public=self.public, generate=bool(asked.generate)))
