"""Keeps the process that holds a site's model: starts it, passes messages on, starts it again when it dies."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import FedtailorError
from ...protection import Encoded
from ..kit.environment import clean_environment
from .pipe import FAILURE, INFO, MESSAGE, OPEN, Ended, Pipe

DIED = "ModelProcessDied"  # what the server learns of it
END_S = 5.0  # that a process gets to end before it is killed


class Failed(FedtailorError):
    """The model's process answered with a failure, or died."""

    def __init__(self, kind: str, mark: str, text: str = "") -> None:
        """Take the kind and mark that may leave the site, and a refusal's text."""
        super().__init__(text or f"{kind} ({mark})")
        self.kind, self.mark, self.text = kind, mark, text


class ModelKeeper:
    """One job's model in a process of its own; messages are answered one at a time."""

    def __init__(self, opening: Mapping[str, Any], log: Path) -> None:
        """Take what the process is sent first, and where its own words go."""
        self._opening, self._log = dict(opening), log
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Pipe | None = None
        self._lock = threading.Lock()
        self._working_on: str | None = None

    def open(self, *, again: bool = False) -> dict[str, Any]:
        """Start the process and return what it reports of itself; one that dies at that is started once more.

        Args:
            again: the job was open here before: what the site kept since then stays.

        Raises:
            Failed: if it cannot or will not take part.
        """
        with self._lock:
            try:
                return self._start(restarted=again)
            except Failed as fault:
                if fault.mark != DIED:
                    raise
            return self._start(restarted=again)

    def answer(self, ticket: str, data: Encoded) -> tuple[bytes, float]:
        """Return the encoded reply to a message and the seconds that it took; a process that died is started again first.

        Raises:
            Failed: with what may be reported of it.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start(restarted=True)
            assert self._pipe is not None
            self._working_on = ticket
            began = time.perf_counter()
            try:
                self._pipe.put(MESSAGE, data)
                seconds = self._receive(INFO)
                reply = self._pipe.get()[1]
            except Ended:
                self._end()
                raise Failed("failed", DIED) from None
            finally:
                self._working_on = None
            return reply, min(float(json.loads(seconds)["seconds"]), time.perf_counter() - began)

    def forget(self, ticket: str) -> None:
        """Stop working on a message that nobody waits for: there is no gentler way than to end the process."""
        process = self._process
        if self._working_on == ticket and process is not None:
            process.kill()

    def close(self) -> None:
        """End the process."""
        process = self._process
        if process is not None:
            process.kill()
        with self._lock:
            self._end()

    def _start(self, *, restarted: bool) -> dict[str, Any]:
        """Start a process.

        Args:
            restarted: an earlier one of this job has died: what the site kept since the job was opened is the run's, and stays.
        """
        self._end()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "fedtailor.orphans", str(os.getpid()), "fedtailor.network.site.model_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._log.parent,
                env={**clean_environment(Path(self._opening["kit"])), "TOKENIZERS_PARALLELISM": "false"},
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._pipe = Pipe(self._process.stdout, self._process.stdin)  # type: ignore[arg-type]
        try:
            self._pipe.put(OPEN, json.dumps({**self._opening, "restarted": restarted}).encode())
            found: dict[str, Any] = json.loads(self._receive(INFO))
        except Ended:
            self._end()
            raise Failed("failed", DIED) from None
        return found

    def _receive(self, wanted: bytes) -> bytes:
        """Return the bytes of the next frame, which must be of the wanted kind."""
        assert self._pipe is not None
        tag, payload = self._pipe.get()
        if tag == FAILURE:
            failure = json.loads(payload)
            raise Failed(failure["kind"], failure["mark"], failure.get("text", ""))
        if tag != wanted:
            raise Ended
        return payload

    def _end(self) -> None:
        process, self._process, self._pipe = self._process, None, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            try:
                if stream is not None:
                    stream.close()
            except OSError:  # what was not sent yet cannot be sent any more
                continue
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
