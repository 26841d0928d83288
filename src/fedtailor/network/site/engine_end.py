"""The engine's end of a site: hands what the server asks to the agent, and back what the agent's gate let pass. It reads none of it."""

import json
import queue
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ...federation.nvflare.line import Packed, Plain
from ...federation.nvflare.packing import pack, unpack
from ...protection import Encoded
from .calls import SESSION_BITS, Arrived, Calls
from .pipe import Ended

ALIVE_S = 2.0  # that the agent may take to answer whether it is there
BEAT_S = 10.0  # between two signs of life of this process
OPENED_S = 300.0  # that an agent which was started again may take to open the job again
MOST_BYTES = 2**40  # of the agent's answers: it is trusted
FRESH = 0  # the number under which an agent says that it has just been started
DIED = ("failed", "AgentDied")  # what the server learns of a request that an agent took with it


class EngineEnd:
    """What answers for a site in the process of a job; nothing of the site's is here."""

    def __init__(self, connection: socket.socket) -> None:
        """Take the socket that leads to the agent."""
        connection.setblocking(False)
        try:
            while connection.recv(2**20):  # answers to who was here before
                pass
        except BlockingIOError:
            connection.setblocking(True)
        self._calls = Calls(connection, lambda: MOST_BYTES, lambda text: None)
        self._session, self._count = secrets.randbits(SESSION_BITS - 1) | 1, 0
        self._waiting: dict[int, queue.SimpleQueue[Arrived]] = {}
        self._lock, self._opened = threading.Lock(), threading.Event()
        self._opening: bytes | None = None
        self._opened.set()
        self._met = False  # whether an agent has answered: only then can another one have taken its place
        for work in (self._read, self._beat):
            threading.Thread(target=work, daemon=True).start()

    def open(self, values: Plain) -> Plain:
        """Return what the agent answers to a job before it begins."""
        opening = json.dumps(values).encode()
        if not values.get("ask"):
            self._opening = opening
        return self._plain(self._ask({"do": "open"}, opening))

    def answer(self, ticket: str, packed: Packed) -> Plain:
        """Return the packed answer to a message, or a failure."""
        self._opened.wait(OPENED_S)
        arrived = self._ask({"do": "answer", "ticket": str(ticket)}, unpack(packed))
        if "failure" in arrived.head:
            return {"failure": list(arrived.head["failure"])}
        return {**pack(arrived.body), "seconds": arrived.head["seconds"]}

    def alive(self) -> bool:
        """Return whether the agent answers."""
        try:
            return self._ask({"do": "alive"}, wait_s=ALIVE_S).head.get("alive") is True
        except queue.Empty:
            return False

    def forget(self, ticket: str) -> None:
        """Have the agent stop working on a message that nobody waits for."""
        self._calls.put(self._number(), {"do": "forget", "ticket": str(ticket)})

    def stop(self) -> None:
        """Let the agent know that the job is over."""
        self._opening = None
        self._calls.put(self._number(), {"do": "stop"})

    def _number(self) -> int:
        with self._lock:
            self._count += 1
            return self._session << SESSION_BITS | self._count

    def _ask(self, head: Mapping[str, Any], body: Encoded = b"", wait_s: float | None = None) -> Arrived:
        number, arrived = self._number(), queue.SimpleQueue[Arrived]()
        self._waiting[number] = arrived
        try:
            self._calls.put(number, head, body)
            return arrived.get(timeout=wait_s)
        finally:
            self._waiting.pop(number, None)

    def _plain(self, arrived: Arrived) -> Plain:
        answer: Plain = json.loads(arrived.body) if arrived.body else {"failure": list(arrived.head.get("failure", DIED))}
        return answer

    def _read(self) -> None:
        while True:
            try:
                arrived = self._calls.get()
            except Ended:  # the process is ended
                return
            if arrived.call == FRESH and self._met:
                self._come_back()
            self._met = self._met or arrived.call != FRESH
            if waiting := self._waiting.get(arrived.call):
                waiting.put(arrived)

    def _beat(self) -> None:
        """Say again and again that this process is there: the agent ends the model's process of one that is not."""
        with suppress(OSError):  # the process is ended
            while True:
                self._calls.put(self._number(), {"do": "alive"})
                time.sleep(BEAT_S)

    def _come_back(self) -> None:
        """An agent was started in the place of one that died: fail what the other took with it, and have it open the job again."""
        for number, waiting in list(self._waiting.items()):
            waiting.put(Arrived(call=number, head={"failure": DIED}))
        if self._opening is not None and self._opened.is_set():
            self._opened.clear()
            threading.Thread(target=self._open_again, args=(self._opening,), daemon=True).start()

    def _open_again(self, opening: bytes) -> None:
        try:
            self._ask({"do": "open", "again": True}, opening)
        finally:
            self._opened.set()
