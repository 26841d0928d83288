"""Questions that come to a run while it is open, from another thread, and their answers."""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, Full, Queue
from threading import Lock
from typing import Any

from .messages import MOST_QUESTIONS

MOST_WAITING = 64  # requests
MOST_KEPT = 256  # answers that nobody has fetched yet
CLOSED = "this run takes no questions: protocol.open_s is 0, or it has not come to them yet"


@dataclass(frozen=True, kw_only=True)
class Request:
    """Questions of somebody who waits."""

    ticket: str
    questions: Sequence[str]
    top_k: int | None  # None: that of the job


@dataclass(kw_only=True)
class Inbox:
    """What is asked, and what was answered, by ticket."""

    is_open: bool = False
    _waiting: Queue[Request] = field(default_factory=lambda: Queue(MOST_WAITING))
    _answered: OrderedDict[str, Mapping[str, Any]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def put(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Take a request with `ticket`, `questions` and perhaps `top_k`; return what is wrong with it as `fault`, or nothing."""
        ticket, questions, top_k = asked.get("ticket"), asked.get("questions"), asked.get("top_k")
        if not self.is_open:
            return {"fault": CLOSED}
        if not isinstance(ticket, str) or not isinstance(questions, list) or not all(isinstance(one, str) for one in questions):
            return {"fault": "a request has a ticket and a list of questions"}
        if not 1 <= len(questions) <= MOST_QUESTIONS:
            return {"fault": f"{len(questions)} questions came at once, and the most is {MOST_QUESTIONS}"}
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int)):
            return {"fault": f"top_k is a whole number; got {top_k!r}"[:200]}
        try:
            self._waiting.put_nowait(Request(ticket=ticket, questions=questions, top_k=top_k))
        except Full:
            return {"fault": f"{MOST_WAITING} requests wait already; ask again"}
        return {}

    def take(self, wait_s: float) -> Request | None:
        """Return the next request; None if none comes for so long."""
        try:
            return self._waiting.get(timeout=wait_s)
        except Empty:
            return None

    def answer(self, ticket: str, answer: Mapping[str, Any]) -> None:
        """Keep an answer, or a fault, for who asked; of many the oldest are dropped."""
        with self._lock:
            self._answered[ticket] = json.loads(json.dumps(answer))
            while len(self._answered) > MOST_KEPT:
                self._answered.popitem(last=False)

    def look(self, ticket: str) -> dict[str, Any]:
        """Return the answer to a request, once; nothing while there is none."""
        with self._lock:
            return dict(self._answered.pop(ticket, {}))
