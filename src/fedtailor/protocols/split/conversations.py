"""All conversations of a round, seen by averaging as one request and one answer each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from ...chance import stream
from ...errors import ClientError, NotFinite
from ...interfaces import Federation
from ...records import ClientFailure, ClientId, ClientInfo, Message, Reply, Traffic
from ...tensors import Tensors
from ..averaging_messages import scale_facts
from .messages import END
from .reuse import Kept, Spared
from .server import ServerTurn, opened
from .side import Side

if TYPE_CHECKING:
    from .bound import BoundSplit

LOST = "lost/"  # in front of a client's id: what a code lost of the gradients sent to it


@dataclass(kw_only=True)
class Conversations:
    """A federation to averaging: a request to train is carried out as a conversation, and the answer is the change of all weights."""

    protocol: "BoundSplit"
    federation: Federation
    lost: dict[str, Tensor]  # of the last finished round; what error feedback keeps, by client
    kept: dict[ClientId, Kept] = field(default_factory=dict)  # activations that are sent once: whole as soon as they are here
    seconds: float = 0.0  # that the server computed in the last attempt
    spared: dict[ClientId, Spared] = field(default_factory=dict, init=False)  # by reuse, in the last attempt
    _next_lost: dict[str, Tensor] = field(default_factory=dict, init=False)
    _opening: Message | None = field(default=None, init=False)  # that goes to all alike, and so is encoded once
    _shared: Tensors = field(default_factory=dict, init=False)  # that the round starts from

    @property
    def clients(self) -> Sequence[ClientInfo]:
        return self.federation.clients

    def ask(self, requests: Mapping[ClientId, Message], timeout_s: float | None = None) -> Iterator[Reply]:
        """Hold a conversation with each client, and yield an answer as if the client had trained everything alone."""
        self.seconds, self.spared, self._next_lost, self._shared = 0.0, {}, {}, next(iter(requests.values())).tensors
        self._opening = None
        way = self._in_parallel if self.protocol.settings.server == "parallel" else self._in_turn
        yield from way(requests, timeout_s)

    def commit(self) -> None:
        """Keep what error feedback has now: the round is done."""
        self.lost = {**self.lost, **self._next_lost}

    def _in_parallel(self, requests: Mapping[ClientId, Message], timeout_s: float | None) -> Iterator[Reply]:
        """Every client has a server part of its own; all are in flight together."""
        turns: dict[ClientId, _Open] = {}
        begin = _of_all(requests)
        for client in requests:
            side = Side(self.protocol.server_weights(begin.tensors), self.protocol.local, self.protocol.worker.device)
            turns[client] = self._open(client, side, begin)
        while turns:
            reply = self.federation.next_reply(timeout_s)
            if reply.client in turns and (done := self._go_on(turns[reply.client], reply)):
                del turns[reply.client]
                yield done

    def _in_turn(self, requests: Mapping[ClientId, Message], timeout_s: float | None) -> Iterator[Reply]:
        """One server part learns from one client after the other; what a client that fails has taught it is taken back."""
        begin = _of_all(requests)
        side = Side(self.protocol.server_weights(begin.tensors), self.protocol.local, self.protocol.worker.device)
        order = stream(self.protocol.worker.seed, "split-order", int(begin.facts["version"]) + 1).permutation(sorted(requests))  # type: ignore[arg-type]
        answers: list[Reply] = []
        for client in order.tolist():
            take_back = side.snapshot()
            turn = self._open(client, side, begin)
            done: Reply | None = None
            while done is None:
                done = self._go_on(turn, self.federation.next_reply(timeout_s))
            if done.message is None:
                take_back()
            answers.append(done)
        learned = side.delta()
        for reply in answers:
            yield reply if reply.message is None else _with(reply, {**reply.message.tensors, **learned})

    def _open(self, client: ClientId, side: Side, begin: Message) -> "_Open":
        """Send the message that opens a conversation, and return the server's half of it."""
        examples = next(info.examples for info in self.clients if info.id == client)
        kept = self.kept.setdefault(client, Kept(examples=examples)) if self.protocol.settings.reuse else None
        if kept is None and self._opening is None:
            self._opening = opened(self.protocol, begin)
        message = opened(self.protocol, begin, kept=kept) if kept is not None or self._opening is None else self._opening
        steps, lost_H = self.protocol.local.steps_per_round(examples), self.lost.get(f"{LOST}{client}")
        turn = ServerTurn(self.protocol, client, side, message, steps=steps, lost_H=lost_H, kept=kept)
        self.federation.send(client, message)
        return _Open(client=client, turn=turn)

    def _go_on(self, open: "_Open", reply: Reply) -> Reply | None:
        """Answer one message of a client; return its final answer when the conversation is over."""
        open.traffic = open.traffic + reply.traffic
        if reply.message is None:
            return Reply(client=open.client, message=None, error=reply.error, traffic=open.traffic)
        before = open.turn.seconds
        try:
            answer = open.turn.answer(reply.message)
        except ClientError as fault:
            kind = "not-finite" if isinstance(fault, NotFinite) else "off-manifest"
            return Reply(
                client=open.client,
                message=None,
                error=ClientFailure(kind=kind, mark=type(fault).__name__),
                traffic=open.traffic,
            )
        finally:
            self.seconds += open.turn.seconds - before
            self.spared[open.client] = open.turn.spared
        if answer is not None:
            self.federation.send(open.client, answer)
            return None
        if open.turn.lost_H is not None:
            self._next_lost[f"{LOST}{open.client}"] = open.turn.lost_H
        return self._final(open, reply.message)

    def _final(self, open: "_Open", end: Message) -> Reply:
        """Return the answer of a client whose conversation is over: its own change, and its copy of the server part's."""
        worker, own = self.protocol.worker, self.protocol.settings.server == "parallel"
        tensors = {**end.tensors, **(open.turn.side.delta() if own else {})}
        facts = {**end.facts, **scale_facts(self._shared, worker.tuning.scale(worker.model))}
        return Reply(client=open.client, message=Message(kind=END, tensors=tensors, facts=facts), traffic=open.traffic)


@dataclass(kw_only=True)
class _Open:
    """One conversation that is under way."""

    client: ClientId
    turn: ServerTurn
    traffic: Traffic = field(default_factory=Traffic)


def _of_all(requests: Mapping[ClientId, Message]) -> Message:
    return next(iter(requests.values()))  # averaging asks all the same


def _with(reply: Reply, tensors: Tensors) -> Reply:
    assert reply.message is not None
    message = Message(kind=reply.message.kind, tensors=tensors, facts=reply.message.facts)
    return Reply(client=reply.client, message=message, traffic=reply.traffic)
