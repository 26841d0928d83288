"""All conversations of a round, seen by averaging as one request and one answer each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...chance import stream
from ...errors import ClientError, NotFinite
from ...interfaces import Federation
from ...messages import read, write
from ...messages.record import read_any
from ...records import ClientFailure, ClientId, ClientInfo, Message, Reply, Traffic
from ...tensors import Tensors
from ..averaging.messages import Train, Trained, scales_of
from .cuts import Past, decide, reported_means
from .messages import Activations, Begin, Drained, End, LossGradient
from .reuse import Kept, Spared, mark_of
from .server_turn import ServerTurn
from .side import Side, moved
from .state import Memory
from .terms import Terms


@dataclass(kw_only=True)
class Conversations:
    """What averaging asks: a request to train is carried out as a conversation, and the answer is the change of all weights."""

    terms: Terms
    federation: Federation
    memory: Memory  # what the server remembers of clients since the last finished round; see `Past`
    kept: dict[ClientId, Kept] = field(default_factory=dict)  # activations that are sent once: whole as soon as they are here
    seconds: float = 0.0  # that the server computed in the last attempt
    spared: dict[ClientId, Spared] = field(default_factory=dict, init=False)  # by reuse, in the last attempt
    cuts: dict[ClientId, int] = field(default_factory=dict, init=False)  # in the last attempt
    errors: dict[ClientId, dict[str, float]] = field(default_factory=dict, init=False)  # of the codes, in the last attempt
    _next: dict[ClientId, Past] = field(default_factory=dict, init=False)
    _openings: dict[int, Message] = field(default_factory=dict, init=False)  # by cut: what goes to many alike is encoded once
    _together: int = field(default=1, init=False)

    @property
    def clients(self) -> Sequence[ClientInfo]:
        return self.federation.clients

    def ask(self, requests: Mapping[ClientId, Message], timeout_s: float | None = None) -> Iterator[Reply]:
        """Hold a conversation with each client, and yield an answer as if the client had trained everything alone."""
        self.seconds, self.spared, self.cuts, self.errors, self._next, self._openings = 0.0, {}, {}, {}, {}, {}
        self._together = len(requests)
        asked = read(next(iter(requests.values())), Train)  # averaging asks all the same
        in_parallel = self.terms.settings.server == "parallel"
        for ended in (self._in_parallel if in_parallel else self._in_turn)(asked, list(requests), timeout_s):
            yield ended.reply(self._scales(asked))

    def commit(self) -> None:
        """Remember what is known of the clients now: the round is done."""
        for client, past in self._next.items():
            self.memory = past.put(self.memory, client)

    def _scales(self, asked: Train) -> list[float]:
        worker = self.terms.worker
        return scales_of(asked.shared, worker.tuning.scale(worker.model))

    def _in_parallel(self, asked: Train, clients: Sequence[ClientId], timeout_s: float | None) -> Iterator["_Ended"]:
        """Every client has a server part of its own; all are in flight together."""
        turns = {client: self._open(client, asked) for client in clients}
        while turns:
            reply = self.federation.next_reply(timeout_s)
            if reply.client in turns and (done := self._continue(turns[reply.client], reply)):
                turn = turns.pop(reply.client).turn
                yield done if done.end is None else replace(done, learned=turn.side.delta())

    def _in_turn(self, asked: Train, clients: Sequence[ClientId], timeout_s: float | None) -> Iterator["_Ended"]:
        """One server part learns from one client after the other; what a client that fails has taught it is taken back."""
        terms, worker = self.terms, self.terms.worker
        side = Side(terms.server_weights(asked.shared), terms.local, worker.device, heads=worker.heads)
        order = stream(worker.seed, "split-order", asked.version + 1).permutation(sorted(clients))
        ended: list[_Ended] = []
        for client in order.tolist():
            take_back = side.snapshot()
            open = self._open(client, asked, side)
            done: _Ended | None = None
            while done is None:
                reply = self.federation.next_reply(timeout_s)
                done = self._continue(open, reply) if reply.client == client else None
            if done.end is None:
                take_back()
            ended.append(done)
        learned = side.delta()
        for each in ended:
            yield replace(each, learned=learned)

    def _open(self, client: ClientId, asked: Train, side: Side | None = None) -> "_Open":
        """Send the message that opens a conversation, and return the server's part of it; `side` is that of all clients, if they share one."""
        info, past = next(info for info in self.clients if info.id == client), Past.read(self.memory, client)
        cut = decide(self.terms, info, past, together=self._together)
        terms = self.terms.at_cut(cut)
        if past.cut not in (None, cut):
            past = replace(past, lost_H=None)  # it was lost at another place
        kept = self.kept.setdefault(client, Kept(examples=info.examples)) if terms.settings.reuse else None
        server = terms.server_weights(asked.shared)
        mine, given = moved(past.moments, server)
        side = side or Side(server, terms.local, terms.worker.device, moments=mine, heads=terms.worker.heads)
        begin = opened(terms, asked, kept=kept, moments=given)
        turn = ServerTurn(
            terms, client, side, begin, steps=terms.local.steps_per_round(info.examples), lost_H=past.lost_H, kept=kept
        )
        self.cuts[client] = cut
        alike = kept is None and not given
        self.federation.send(client, self._openings.setdefault(cut, write(begin)) if alike else write(begin))
        return _Open(client=client, turn=turn, terms=terms, past=past)

    def _continue(self, open: "_Open", reply: Reply) -> "_Ended | None":
        """Answer one message of a client; return what its conversation came to when it is over."""
        open.traffic = open.traffic + reply.traffic
        if reply.message is None:
            return _Ended(client=open.client, traffic=open.traffic, error=reply.error)
        before, ticket = open.turn.seconds, None
        try:
            said = read_any(reply.message, (Activations, LossGradient, Drained, End))
            answer = open.turn.answer(said)
            if answer is not None:
                ticket = self.federation.send(open.client, write(answer))
                open.turn.ahead()
        except ClientError as fault:
            if ticket is not None:
                self.federation.cancel(ticket)
            kind = "not-finite" if isinstance(fault, NotFinite) else "off-manifest"
            failure = ClientFailure(kind=kind, mark=getattr(fault, "mark", type(fault).__name__))
            return _Ended(client=open.client, traffic=open.traffic, error=failure)
        finally:
            self.seconds += open.turn.seconds - before
            self.spared[open.client] = open.turn.spared
        if not isinstance(said, End):
            return None
        self._next[open.client] = _past(open, said)
        self.errors[open.client] = _errors(open.turn, said)
        return _Ended(client=open.client, traffic=open.traffic, end=said)


@dataclass(kw_only=True)
class _Open:
    """One conversation that is under way."""

    client: ClientId
    turn: ServerTurn
    terms: Terms  # cut for this client
    past: Past
    traffic: Traffic = field(default_factory=Traffic)


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """What one conversation came to."""

    client: ClientId
    traffic: Traffic
    error: ClientFailure | None = None
    end: End | None = None  # None: it failed
    learned: Tensors = field(default_factory=dict)  # what the server's part has changed

    def reply(self, scales: Sequence[float]) -> Reply:
        """Return the answer to averaging: the client's own change, and that of the server's part.

        Args:
            scales: alpha / r of each LoRA module of all weights.
        """
        end = self.end
        if end is None:
            return Reply(client=self.client, message=None, error=self.error, traffic=self.traffic)
        trained = Trained(
            version=end.version,
            examples=end.examples,
            targets=end.targets,
            tokens=end.tokens,
            steps=end.steps,
            first_loss=end.first_loss,
            last_loss=end.last_loss,
            seconds=end.seconds,
            scale=scales or None,
            delta={**end.delta, **self.learned},
        )
        return Reply(client=self.client, message=write(trained), traffic=self.traffic)


def _errors(turn: ServerTurn, end: End) -> dict[str, float]:
    """Return what the codes lost of activations, and of gradients on the worse of both sides, as far as it is known."""
    gradients = [error for error in (turn.gradient_error, end.gradient_error) if error is not None]
    known = {"wire_error": end.wire_error, "gradient_error": max(gradients, default=None)}
    return {name: error for name, error in known.items() if error is not None}


def opened(terms: Terms, asked: Train, *, kept: Kept | None = None, moments: Tensors | None = None) -> Begin:
    """Return the message that opens a conversation: the client's part of the shared weights.

    Args:
        terms: cut as the round will be.
        kept: what the server keeps of the client's activations.
        moments: of weights that become the client's.
    """
    return Begin(
        version=asked.version,
        rate_factor=asked.rate_factor,
        cut=terms.layout.cut,
        kept=None if kept is None else mark_of(kept.known),
        weights={name: asked.shared[name].float() for name in terms.layout.trained_by("client") if name in asked.shared},
        moments=moments or {},
    )


def _past(open: _Open, end: End) -> Past:
    """Return what the server will remember of a client whose conversation is over."""
    terms, turn = open.terms, open.turn
    past = replace(open.past, lost_H=turn.lost_H)
    if terms.local.keep_optimizer:
        past = replace(past, moments=turn.side.moments())
    if terms.fixed_cut(open.client) is None:
        past = reported_means(terms, end, open.traffic, server_seconds=turn.seconds, past=past)
        past = replace(past, cut=terms.layout.cut)
    return past
