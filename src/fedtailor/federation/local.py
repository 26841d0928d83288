"""All clients in this process, one after the other, through the same gate as over a network."""

import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..causes import cause_of
from ..errors import ClientError, FedtailorError, NotFinite
from ..interfaces import Answering
from ..learning.training import one_by_one
from ..protection import Encoded, Gate
from ..records import ClientFailure, ClientId, ClientInfo, Message, Reply, Traffic
from ..storage import StorageError
from ..tensors import Lazy

OUT_OF_MEMORY = "OutOfMemoryError"  # the name of torch's own class, which it raises for accelerators alone


@dataclass(frozen=True, eq=False)
class Request:
    """A message as it was encoded once, for all clients that it waits for."""

    message: Message  # held, so that no other takes its identity meanwhile
    encoded: Encoded


class LocalFederation:
    """Clients that share this process; every message is truly encoded, checked, counted and decoded.

    A request is encoded when it is sent; the client works when its reply is asked for. So at most one reply is in
    memory, and a message that waits for many clients is encoded once and held once; it is let go with the last of them. A message past 64 MiB (of full tuning) is encoded tensor by tensor
    as it is read: a request from what the server sent, which nobody changes in place; a reply from the model that the clients
    share, and what is still held of it when the next client's turn comes is made a copy of.
    """

    def __init__(
        self,
        halves: Mapping[ClientId, Answering],
        infos: Sequence[ClientInfo],
        gate: Gate,
        on_failure: Callable[[ClientId, Exception], None],
    ) -> None:
        """Take the client halves, what is known of each, the gate, and where the text of a fault goes (the client's own log)."""
        self.clients = infos
        self._halves = halves
        self._gate = gate
        self._on_failure = on_failure
        self._waiting: deque[tuple[int, ClientId, Request, float]] = deque()
        self._requests: weakref.WeakValueDictionary[int, Request] = weakref.WeakValueDictionary()  # those that wait, by identity
        self._tickets = 0
        self._last_reply: Callable[[], Lazy | None] = lambda: None

    def send(self, client: ClientId, message: Message) -> int:
        """Encode `message` for `client` at once and return a ticket."""
        began = time.perf_counter()
        request = self._requests.get(id(message))
        if request is None:
            request = self._requests[id(message)] = Request(message, self._gate.leave_server(message))
        self._tickets += 1
        self._waiting.append((self._tickets, client, request, time.perf_counter() - began))
        return self._tickets

    def next_reply(self, timeout_s: float | None = None) -> Reply:
        """Let the client that was asked first do its work and return its answer; there is nothing to wait for."""
        _, client, request, seconds = self._waiting.popleft()
        began = time.perf_counter()
        if (held := self._last_reply()) is not None:
            held.settle()
        answer: Encoded = b""
        worked = 0.0
        try:
            gate = self._gate.at(client)
            asked = gate.enter_client(request.encoded)
            start = time.perf_counter()
            try:
                message = one_by_one(self._halves[client].answer(asked))
            finally:
                worked = time.perf_counter() - start
            answer = gate.leave_client(message, asked=asked)
            reply, error = self._gate.enter_server(answer, request.message.kind), None
        except StorageError:  # the run folder's disk is no fault of the client
            raise
        except Exception as fault:
            self._on_failure(client, fault)
            reply, error = None, failure_of(fault)
        if reply is not None and isinstance(reply.tensors, Lazy):
            self._last_reply = weakref.ref(reply.tensors)
        seconds += time.perf_counter() - began - worked
        traffic = Traffic(up_bytes=len(answer), down_bytes=len(request.encoded), seconds=seconds)
        return Reply(client=client, message=reply, error=error, traffic=traffic)

    def cancel(self, ticket: int) -> None:
        """Forget a request that was not answered."""
        self._waiting = deque(request for request in self._waiting if request[0] != ticket)

    def ask(self, requests: Mapping[ClientId, Message], timeout_s: float | None = None) -> Iterator[Reply]:
        """Send one request to each client and yield the answers as they come."""
        for client, message in requests.items():
            self.send(client, message)
        for _ in requests:
            yield self.next_reply(timeout_s)


def failure_of(fault: Exception) -> ClientFailure:
    """Return what the server may know of a fault: its kind and a mark (the name of its class, or where training diverged), never its text.

    Running out of memory has one mark: on a processor torch raises a RuntimeError for it, whose name says nothing.
    """
    if isinstance(fault, NotFinite):
        kind = "not-finite"
    elif isinstance(fault, ClientError):
        kind = "off-manifest"
    else:
        kind = "refused" if isinstance(fault, FedtailorError) else "failed"
    name = type(fault).__name__
    usual = OUT_OF_MEMORY if "Memory" not in name and cause_of(fault, "").name == "memory" else name
    return ClientFailure(kind=kind, mark=getattr(fault, "mark", usual))
