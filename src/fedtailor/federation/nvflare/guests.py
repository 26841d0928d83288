"""Who is at the server's port: how many shake hands at once, whose certificates are revoked, and which kit is used from two places."""

import json
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

MOST_HANDSHAKES = 256  # under way; above it, the oldest of the address that has most is given up
LOOK_S = 2.0  # between two looks at the list of revoked certificates
log = logging.getLogger("fedtailor.port")


class Guests:
    """The connections of one port."""

    def __init__(self, revoked: Path | None) -> None:
        """Take the file with the numbers of revoked certificates, by site; it may come to be later."""
        self._file, self._stamp, self._revoked = revoked, 0, frozenset[str]()
        self._shaking: dict[socket.socket, tuple[str, float]] = {}  # address and since when
        self._here: dict[socket.socket, tuple[str, str]] = {}  # number of the certificate and address
        self._lock = threading.Lock()
        if revoked is not None:
            threading.Thread(target=self._watch, daemon=True).start()

    @contextmanager
    def shaking(self, connection: socket.socket, address: str) -> Iterator[None]:
        """Count a handshake inside the block."""
        with self._lock:
            if len(self._shaking) >= MOST_HANDSHAKES:
                most, _ = Counter(each for each, _ in self._shaking.values()).most_common(1)[0]
                _end(
                    min((one for one, (each, _) in self._shaking.items() if each == most), key=lambda one: self._shaking[one][1])
                )
            self._shaking[connection] = (address, time.monotonic())
        try:
            yield
        finally:
            with self._lock:
                self._shaking.pop(connection, None)

    @contextmanager
    def here(self, connection: Any, address: str) -> Iterator[bool]:
        """Keep a connection inside the block; gives False if its certificate is revoked."""
        certificate = connection.getpeercert() or {}
        number, name = str(certificate.get("serialNumber", "")), _name(certificate)
        self._read()
        if number in self._revoked:
            log.warning("fedtailor noticed: %s, whose certificate was revoked, was refused from %s", name, address)
            yield False
            return
        with self._lock:
            others = {each for known, each in self._here.values() if known == number} - {address}
            self._here[connection] = (number, address)
        if others:
            log.warning(
                "fedtailor noticed: the kit of %s is used from %s and %s; if it was copied, revoke it",
                name,
                address,
                ", ".join(sorted(others)),
            )
        try:
            yield True
        finally:
            with self._lock:
                self._here.pop(connection, None)

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK_S)
            self._read()
            with self._lock:
                leaving = [connection for connection, (number, _) in self._here.items() if number in self._revoked]
            for connection in leaving:
                _end(connection)

    def _read(self) -> None:
        """Read the list again if it has changed; one that cannot be read leaves the one before."""
        with suppress(OSError, ValueError, AttributeError, TypeError):
            if self._file is not None and (stamp := self._file.stat().st_mtime_ns) != self._stamp:
                content = json.loads(self._file.read_text(encoding="utf-8"))
                self._revoked = frozenset(str(number) for numbers in content.values() for number in numbers)
                self._stamp = stamp


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _name(certificate: Any) -> str:
    return next((value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"), "somebody")
