"""The engine for clients on other machines: each request in a thread of its own, replies as they arrive.

It speaks through a `Line` and knows nothing of who carries it.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import RunError
from ...protection import Encoded, Gate
from ...records import ClientFailure, ClientId, ClientInfo, Message, Reply, Traffic
from ..local import failure_of
from .line import Line, Patience, Unanswered, gives_sign
from .packing import pack, unpack

WAIT_S = 0.5  # between two looks at whether the job was stopped
KINDS = ("failed", "off-manifest", "not-finite", "refused")  # of failures that a client may name
MARK_CHARACTERS = 60


class Stopped(RunError):
    """The engine stopped the job: a process of it died, or somebody aborted it."""


@dataclass(eq=False)
class _Waiting:
    """A request that was sent."""

    client: ClientId
    kind: str
    encoded: Encoded
    began: float
    due: float  # when it is given up, by `time.monotonic()`


class NetFederation:
    """Clients on other machines, through the same gate as clients in this process.

    Used from one thread. A client that is lost stays so: later requests to it come back at once, and it takes part again when
    the job is submitted again. A late answer, or a second one, counts for nothing.
    """

    def __init__(self, line: Line, infos: Sequence[ClientInfo], gate: Gate, patience: Patience | None = None) -> None:
        """Take the line to the clients, what is known of each, and the gate."""
        self.clients = infos
        self._line, self._gate, self._patience = line, gate, patience or Patience()
        self._waiting: dict[int, _Waiting] = {}
        self._arrived: queue.Queue[tuple[int, Reply | Stopped]] = queue.Queue()
        self._lost: set[ClientId] = set()
        self._tickets = 0
        self._last: tuple[Message, Encoded] | None = None  # what many clients are sent is encoded once
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None

    def send(self, client: ClientId, message: Message) -> int:
        """Encode `message`, begin to send it and return a ticket."""
        if self._last is None or self._last[0] is not message:
            self._last = (message, self._gate.leave_server(message))
        self._tickets += 1
        ticket, now = self._tickets, time.monotonic()
        waiting = _Waiting(client, message.kind, self._last[1], now, now + self._patience.answer_s)
        self._waiting[ticket] = waiting
        if client in self._lost:
            self._fail(ticket, waiting, "lost", "StillLost")
            return ticket
        beside(self._call, ticket, waiting)
        if self._watcher is None:
            self._watcher = beside(self._watch)
        return ticket

    def next_reply(self, timeout_s: float | None = None) -> Reply:
        """Return the next answer, whichever client's comes first; who lets us wait for too long has failed.

        Raises:
            Stopped: if the engine stopped the job.
        """
        if not self._waiting:
            raise RunError("an answer is waited for, and nobody was asked")
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            late = self._late(end)
            try:
                ticket, arrived = self._arrived.get(block=late is None, timeout=WAIT_S)
            except queue.Empty:
                if self._line.stopped():
                    raise Stopped(_stopped_text()) from None
                if late is not None:
                    return self._give_up(late)
                continue
            if isinstance(arrived, Stopped):
                raise arrived
            if ticket not in self._waiting:
                continue
            del self._waiting[ticket]
            if arrived.error is not None and arrived.error.kind == "lost":
                self._lost.add(arrived.client)
            return arrived

    def cancel(self, ticket: int) -> None:
        """Forget a request that was not answered; the client is asked to stop working on it."""
        if ticket in self._waiting:
            waiting = self._waiting.pop(ticket)
            beside(self._line.forget, waiting.client, str(ticket))

    def ask(self, requests: Mapping[ClientId, Message], timeout_s: float | None = None) -> Iterator[Reply]:
        """Send one request to each client and yield the answers as they come."""
        for client, message in requests.items():
            self.send(client, message)
        for _ in requests:
            yield self.next_reply(timeout_s)

    def close(self) -> None:
        """Wait for nobody any more."""
        self._waiting.clear()
        self._closed.set()

    def _late(self, end: float | None) -> int | None:
        """Return the ticket of a request that is given up now; all of them at `end`."""
        now = time.monotonic()
        return next((t for t, w in self._waiting.items() if w.due <= now or (end is not None and end <= now)), None)

    def _give_up(self, ticket: int) -> Reply:
        waiting = self._waiting[ticket]
        self.cancel(ticket)
        error = ClientFailure(kind="timeout", mark="TimedOut")
        return Reply(client=waiting.client, message=None, error=error, traffic=Traffic(down_bytes=len(waiting.encoded)))

    def _call(self, ticket: int, waiting: _Waiting) -> None:
        """Carry one request and put its answer where `next_reply` finds it."""
        try:
            answered = self._line.answer(waiting.client, str(ticket), pack(waiting.encoded), waiting.due - time.monotonic())
            self._arrived.put((ticket, self._read(waiting, answered)))
        except Exception as fault:
            if self._line.stopped():  # the engine then claims that calls timed out
                self._arrived.put((ticket, Stopped(_stopped_text())))
            elif isinstance(fault, TimeoutError):
                self._fail(ticket, waiting, "timeout", "TimedOut")
            elif isinstance(fault, Unanswered):
                self._fail(ticket, waiting, "lost", "Unanswered")
            else:
                error = failure_of(fault)
                self._fail(ticket, waiting, error.kind, error.mark)
        except BaseException as stop:  # the engine's own sign that the job is over is no Exception's child everywhere
            self._arrived.put((ticket, Stopped(f"{_stopped_text()} ({type(stop).__name__})")))

    def _read(self, waiting: _Waiting, answered: Mapping[str, Any]) -> Reply:
        """Return the reply that a client's half gave; what is off the manifest is a failure of the client's."""
        if not isinstance(answered, dict):
            raise Unanswered("an answer that is no mapping")
        worked, passed = float(answered.get("seconds", 0.0)), time.monotonic() - waiting.began
        spent = max(0.0, passed - worked) if worked >= 0 else passed  # a client may say anything, also that it is not a number
        if "failure" in answered:
            kind, mark = (str(word)[:MARK_CHARACTERS] for word in answered["failure"])
            error = ClientFailure(kind=kind if kind in KINDS else "failed", mark=mark if mark.isidentifier() else "Unnamed")
            return Reply(
                client=waiting.client,
                message=None,
                error=error,
                traffic=Traffic(down_bytes=len(waiting.encoded), seconds=spent),
            )
        encoded = unpack(answered)
        traffic = Traffic(up_bytes=len(encoded), down_bytes=len(waiting.encoded), seconds=spent)
        try:
            return Reply(client=waiting.client, message=self._gate.enter_server(encoded, waiting.kind), traffic=traffic)
        except Exception as fault:
            return Reply(client=waiting.client, message=None, error=failure_of(fault), traffic=traffic)

    def _watch(self) -> None:
        """Look for signs of life of all clients that work; without them a client is lost."""
        missed: dict[ClientId, int] = {}
        while not self._closed.wait(self._patience.beat_s):
            for ticket, waiting in list(self._waiting.items()):
                client = waiting.client
                missed[client] = 0 if gives_sign(self._line, client, self._patience.beat_s) else missed.get(client, 0) + 1
                if missed[client] >= self._patience.misses:
                    self._fail(ticket, waiting, "lost", "NoSignOfLife")

    def _fail(self, ticket: int, waiting: _Waiting, kind: str, mark: str) -> None:
        traffic = Traffic(down_bytes=len(waiting.encoded))
        error = ClientFailure(kind=kind, mark=mark)
        self._arrived.put((ticket, Reply(client=waiting.client, message=None, error=error, traffic=traffic)))


def beside(function: Callable[..., object], *arguments: object) -> threading.Thread:
    """Run a function in a thread of its own, which nobody waits for at the end of the process."""
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def _stopped_text() -> str:
    return "the engine stopped the job: a process of it ended, or somebody aborted it; the state of the last round is kept at the server"
