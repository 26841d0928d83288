"""All conversations of a round, seen by averaging as one request and one answer each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torch import Tensor

from ...chance import stream
from ...errors import ClientError, NotFinite
from ...interfaces import Federation
from ...messages.facts import with_scales
from ...records import ClientFailure, ClientId, ClientInfo, Message, Reply, Traffic
from ...tensors import Tensors
from ..averaging.messages import Trained, scales_of
from .cuts import Past, decide, moved, told_means, without
from .messages import FREE
from .reuse import Kept, Spared
from .server import ServerTurn, opened
from .side import Side

if TYPE_CHECKING:
    from .bound import BoundSplit


@dataclass(kw_only=True)
class Conversations:
    """A federation to averaging: a request to train is carried out as a conversation, and the answer is the change of all weights."""

    protocol: "BoundSplit"
    federation: Federation
    memory: dict[str, Tensor]  # what the server remembers of clients since the last finished round; see `Past`
    kept: dict[ClientId, Kept] = field(default_factory=dict)  # activations that are sent once: whole as soon as they are here
    seconds: float = 0.0  # that the server computed in the last attempt
    spared: dict[ClientId, Spared] = field(default_factory=dict, init=False)  # by reuse, in the last attempt
    cuts: dict[ClientId, int] = field(default_factory=dict, init=False)  # in the last attempt
    _next: dict[ClientId, Past] = field(default_factory=dict, init=False)
    _openings: dict[int, Message] = field(default_factory=dict, init=False)  # by cut: what goes to many alike is encoded once
    _together: int = field(default=1, init=False)
    _shared: Tensors = field(default_factory=dict, init=False)  # that the round starts from

    @property
    def clients(self) -> Sequence[ClientInfo]:
        return self.federation.clients

    def ask(self, requests: Mapping[ClientId, Message], timeout_s: float | None = None) -> Iterator[Reply]:
        """Hold a conversation with each client, and yield an answer as if the client had trained everything alone."""
        self.seconds, self.spared, self.cuts, self._next, self._openings = 0.0, {}, {}, {}, {}
        self._shared, self._together = _of_all(requests).tensors, len(requests)
        way = self._in_parallel if self.protocol.settings.server == "parallel" else self._in_turn
        yield from way(requests, timeout_s)

    def commit(self) -> None:
        """Remember what is known of the clients now: the round is done."""
        for client, past in self._next.items():
            self.memory = {**without(self.memory, client), **past.tensors(client)}

    def _in_parallel(self, requests: Mapping[ClientId, Message], timeout_s: float | None) -> Iterator[Reply]:
        """Every client has a server part of its own; all are in flight together."""
        turns: dict[ClientId, _Open] = {}
        begin = _of_all(requests)
        for client in requests:
            turns[client] = self._open(client, begin)
        while turns:
            reply = self.federation.next_reply(timeout_s)
            if reply.client in turns and (done := self._go_on(turns[reply.client], reply)):
                del turns[reply.client]
                yield done

    def _in_turn(self, requests: Mapping[ClientId, Message], timeout_s: float | None) -> Iterator[Reply]:
        """One server part learns from one client after the other; what a client that fails has taught it is taken back."""
        begin = _of_all(requests)
        side = Side(
            self.protocol.server_weights(begin.tensors),
            self.protocol.local,
            self.protocol.worker.device,
            heads=self.protocol.worker.heads,
        )
        order = stream(self.protocol.worker.seed, "split-order", int(begin.facts["version"]) + 1).permutation(sorted(requests))  # type: ignore[arg-type]
        answers: list[Reply] = []
        for client in order.tolist():
            take_back = side.snapshot()
            turn = self._open(client, begin, side)
            done: Reply | None = None
            while done is None:
                reply = self.federation.next_reply(timeout_s)
                done = self._go_on(turn, reply) if reply.client == client else None
            if done.message is None:
                take_back()
            answers.append(done)
        learned = side.delta()
        for reply in answers:
            yield reply if reply.message is None else _with(reply, {**reply.message.tensors, **learned})

    def _open(self, client: ClientId, begin: Message, side: Side | None = None) -> "_Open":
        """Send the message that opens a conversation, and return the server's half of it; `side` is that of all clients, if they share one."""
        info, past = next(info for info in self.clients if info.id == client), Past.read(self.memory, client)
        cut = decide(self.protocol, info, past, together=self._together)
        protocol = self.protocol.at_cut(cut)
        if past.cut not in (None, cut):
            past = replace(past, lost_H=None)  # it was lost at another place
        kept = self.kept.setdefault(client, Kept(examples=info.examples)) if protocol.settings.reuse else None
        server = protocol.server_weights(begin.tensors)
        mine, given = moved(past.moments, server)
        side = side or Side(server, protocol.local, protocol.worker.device, moments=mine, heads=protocol.worker.heads)
        message = self._opening(protocol, begin, kept, given)
        turn = ServerTurn(
            protocol,
            client,
            side,
            message,
            steps=protocol.local.steps_per_round(info.examples),
            lost_H=past.lost_H,
            kept=kept,
        )
        self.cuts[client] = cut
        self.federation.send(client, message)
        return _Open(client=client, turn=turn, protocol=protocol, past=past)

    def _opening(self, protocol: "BoundSplit", begin: Message, kept: Kept | None, given: Tensors) -> Message:
        if kept is not None or given:
            return opened(protocol, begin, kept=kept, moments=given)
        return self._openings.setdefault(protocol.layout.cut, opened(protocol, begin))

    def _go_on(self, open: "_Open", reply: Reply) -> Reply | None:
        """Answer one message of a client; return its final answer when the conversation is over."""
        open.traffic = open.traffic + reply.traffic
        if reply.message is None:
            return Reply(client=open.client, message=None, error=reply.error, traffic=open.traffic)
        before, ticket = open.turn.seconds, None
        try:
            answer = open.turn.answer(reply.message)
            if answer is not None:
                ticket = self.federation.send(open.client, answer)
                open.turn.ahead()
        except ClientError as fault:
            if ticket is not None:
                self.federation.cancel(ticket)
            kind = "not-finite" if isinstance(fault, NotFinite) else "off-manifest"
            return Reply(
                client=open.client,
                message=None,
                error=ClientFailure(kind=kind, mark=getattr(fault, "mark", type(fault).__name__)),
                traffic=open.traffic,
            )
        finally:
            self.seconds += open.turn.seconds - before
            self.spared[open.client] = open.turn.spared
        if answer is not None:
            return None
        self._next[open.client] = self._past(open, reply.message)
        return self._final(open, reply.message)

    def _past(self, open: "_Open", end: Message) -> Past:
        """Return what the server will remember of a client whose conversation is over."""
        protocol, turn = open.protocol, open.turn
        past = replace(open.past, lost_H=turn.lost_H)
        if protocol.local.keep_optimizer:
            past = replace(past, moments=turn.side.moments())
        if protocol.fixed_cut(open.client) is None:
            past = told_means(protocol, end.facts, open.traffic, server_seconds=turn.seconds, past=past)
            past = replace(past, cut=protocol.layout.cut)
        return past

    def _final(self, open: "_Open", end: Message) -> Reply:
        """Return the answer of a client whose conversation is over: its own change, and its copy of the server part's."""
        worker, own = self.protocol.worker, self.protocol.settings.server == "parallel"
        tensors = {**end.tensors, **(open.turn.side.delta() if own else {})}
        told = {name: value for name, value in end.facts.items() if name != FREE}
        message = Message(kind=Trained.kind, tensors=tensors, facts=told)
        message = with_scales(message, scales_of(self._shared, worker.tuning.scale(worker.model)))
        return Reply(client=open.client, message=message, traffic=open.traffic)


@dataclass(kw_only=True)
class _Open:
    """One conversation that is under way."""

    client: ClientId
    turn: ServerTurn
    protocol: "BoundSplit"  # cut for this client
    past: Past
    traffic: Traffic = field(default_factory=Traffic)


def _of_all(requests: Mapping[ClientId, Message]) -> Message:
    return next(iter(requests.values()))  # averaging asks all the same


def _with(reply: Reply, tensors: Tensors) -> Reply:
    assert reply.message is not None
    message = Message(kind=reply.message.kind, tensors=tensors, facts=reply.message.facts)
    return Reply(client=reply.client, message=message, traffic=reply.traffic)
