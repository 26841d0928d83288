"""The agent of a site: `python -P -m fedtailor.network.site.agent KIT NAME SOCKET`. It holds data, policy, gate and the model's process, and no network.

What the engine sends is bounded, counted, and answered by the same `Site` in whatever form it comes; nothing of the engine's is trusted.
"""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from .calls import SESSION_BITS, Arrived, Calls
from .engine_end import BEAT_S, FRESH
from .pipe import Ended
from .site import Site

SHARE = 4  # a message may take so much of the memory that is free: one part in SHARE
MOST_CALLS = 8  # that are worked on at the same time
NOBODY = -1  # in the place of a session
LOST_S = 6 * BEAT_S  # without a packet, after which the engine's process of a job counts as dead
QUIET_S = 60.0  # between two lines about packets that are none of ours


class Agent:
    """Answers the engine's calls."""

    def __init__(self, site: Site, connection: socket.socket, note: Callable[[str], None]) -> None:
        """Take what answers, the socket that leads to the engine, and what is called with what is wrong."""
        self._site, self._note = site, note
        self._calls = Calls(connection, _most_bytes, self._stray)
        self._workers = ThreadPoolExecutor(MOST_CALLS)
        self._free = threading.Semaphore(MOST_CALLS)
        self._session, self._strays, self._said_at, self._heard = NOBODY, 0, -QUIET_S, time.monotonic()

    def work(self) -> None:
        """Answer until nobody holds the other end."""
        self._calls.put(FRESH, {"fresh": True})
        threading.Thread(target=self._watch, daemon=True).start()
        with suppress(Ended):
            while True:
                self.take(self._calls.get())

    def take(self, arrived: Arrived) -> None:
        """Answer one call, or have a worker do it. Who opens a job takes the place of who did before, which may end later, and is not heard any more."""
        do, session = arrived.head.get("do"), arrived.call >> SESSION_BITS
        if do == "open" and not arrived.fault and session != self._session:
            self._session = session
            self._calls.forget_others(session)
            self._site.stop()
        if session == self._session:
            self._heard = time.monotonic()
        if arrived.fault:
            self._stray(f"a message that is too large, or one too many ({arrived.fault})")
            self._calls.put(arrived.call, {"failure": ["refused", arrived.fault]})
        elif do == "alive":
            self._calls.put(arrived.call, {"alive": True})
        elif do not in ("open", "answer", "forget", "stop"):
            self._stray("a call that does not exist")
        elif session != self._session:
            self._calls.put(arrived.call, {"failure": ["refused", "NotOpened"]})
        elif do == "forget":
            self._site.forget(str(arrived.head.get("ticket")))
        else:
            self._begin(arrived)

    def _watch(self) -> None:
        """End the job of an engine's process that gives no sign of life: it was killed, and could not say so."""
        while True:
            time.sleep(LOST_S / 4)
            if self._session != NOBODY and time.monotonic() - self._heard > LOST_S:
                self._session = NOBODY
                self._site.stop()

    def _begin(self, arrived: Arrived) -> None:
        if not self._free.acquire(blocking=False):
            self._stray("one call too many")
            self._calls.put(arrived.call, {"failure": ["refused", "TooManyCalls"]})
            return
        self._workers.submit(self._answer, arrived)

    def _answer(self, arrived: Arrived) -> None:
        try:
            head, body = self._do(arrived)
            if head is not None:
                self._calls.put(arrived.call, head, body)
        except Exception as fault:  # the text stays here
            self._note(f"a call of the engine failed: {type(fault).__name__}: {fault}")
            self._calls.put(arrived.call, {"failure": ["failed", type(fault).__name__]})
        finally:
            self._free.release()

    def _do(self, arrived: Arrived) -> tuple[dict[str, Any] | None, bytes]:
        do, head = arrived.head["do"], arrived.head
        if do == "stop":
            self._site.stop()
            return None, b""
        if do == "open":
            answer = self._site.open(json.loads(arrived.body), again=head.get("again") is True)
            return {}, json.dumps(answer).encode()
        answer, reply = self._site.answer(str(head.get("ticket")), arrived.body)
        return answer, reply

    def _stray(self, what: str) -> None:
        """Count what is no call, and say so now and then."""
        self._strays += 1
        if time.monotonic() - self._said_at >= QUIET_S:
            self._said_at = time.monotonic()
            self._note(f"the engine sent {what}; nothing was done ({self._strays:,} such packets so far)")


def _most_bytes() -> int:
    return int(psutil.virtual_memory().available) // SHARE


def main() -> None:
    """Answer the engine that a launcher has started beside this process."""
    kit, name, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    site = Site(name, kit)
    Agent(site, socket.socket(fileno=number), site.note).work()


if __name__ == "__main__":
    main()
