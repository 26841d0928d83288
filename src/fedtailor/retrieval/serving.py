"""HTTP over a socket in the file system that its owner alone may open, and on loopback; by the standard library.

On loopback any page in a browser of this machine can send requests, so a request must name this machine as its host (a name that is bound to
127.0.0.1 by somebody else is refused), come from no other origin, and be declared as JSON, which a form cannot.
"""

import json
import os
import socket
import socketserver
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from ..causes import cause_of
from ..errors import FedtailorError, SettingError
from ..printable import json_text, printable
from .service import BadRequest, Service, message_of, models

PATHS = ("/ask", "/v1/chat/completions")
MOST_BODY = 64 * 1024  # bytes
MOST_AT_ONCE = 16  # requests
IDLE_S = 30.0  # that a connection may be silent
HERE = ("127.0.0.1", "localhost")
MOST_PATH = 100  # bytes of a socket's path: systems take 104 to 108


class _Refused(Exception):
    """A request that is refused with a status, in one line."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """Answers requests with what the server's service says."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    wbufsize = -1  # head and body leave together: apart, the second waits 40 ms for the first to be acknowledged
    server: Any

    def do_GET(self) -> None:
        """Answer what chat windows ask first."""
        self._reply(self._got)

    def do_POST(self) -> None:
        """Answer a question."""
        self._reply(self._posted)

    def _got(self) -> dict[str, Any]:
        if self.path == "/v1/models":
            return models()
        raise _Refused(404 if self.path not in PATHS else 405, f"POST a question to {PATHS[0]} or {PATHS[1]}")

    def _posted(self) -> dict[str, Any] | list[dict[str, Any]]:
        if self.path not in PATHS:
            raise _Refused(404, f"there is no {printable(self.path)[:80]}; POST a question to {PATHS[0]} or {PATHS[1]}")
        if self.headers.get_content_type() != "application/json":
            raise _Refused(415, "the body is JSON; send it with Content-Type: application/json")
        given = self.headers.get("Content-Length", "")
        if not (given.isascii() and given.isdigit()):
            raise _Refused(411, "send the body's length in Content-Length")
        if len(given) > 9 or int(given) > MOST_BODY:
            raise _Refused(413, f"the body has {given[:20]} bytes, and the most is {MOST_BODY:,}")
        raw = self.rfile.read(int(given))
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            raise _Refused(400, "the body is no JSON") from None
        try:
            found: dict[str, Any] | list[dict[str, Any]] = self.server.service.answer(self.path, body)
            return found
        except (BadRequest, SettingError) as fault:
            raise _Refused(400, message_of(fault)) from None
        except FedtailorError as fault:
            raise _Refused(503, message_of(fault)) from None

    def _reply(self, answer: Any) -> None:
        if not self.server.places.acquire(blocking=False):
            self._send(503, {"error": {"message": f"{MOST_AT_ONCE} requests are under way; ask again"}}, close=True)
            return
        try:
            self._check_host()
            self._send(200, answer())
        except _Refused as fault:
            self._send(fault.status, {"error": {"message": str(fault)}}, close=True)  # what is left of the body is not read
        except Exception as fault:  # a fault of ours ends neither the service nor says more than its kind
            self._send(500, {"error": {"message": f"the question could not be answered ({type(fault).__name__})"}}, close=True)
        finally:
            self.server.places.release()

    def _check_host(self) -> None:
        if not self.server.on_network:
            return
        port = self.server.server_address[1]
        hosts = [f"{name}:{port}" for name in HERE]
        if self.headers.get("Host") not in hosts:
            raise _Refused(421, f"the host of a request is {hosts[0]}; this service is for this machine alone")
        if (origin := self.headers.get("Origin")) is not None and origin not in [f"http://{host}" for host in hosts]:
            raise _Refused(403, "pages from elsewhere may not ask here")

    def _send(self, status: int, value: dict[str, Any] | list[dict[str, Any]], *, close: bool = False) -> None:
        """Send a value as JSON, or a list of them as the events of a stream."""
        kind = "application/json" if isinstance(value, dict) else "text/event-stream"
        events = [] if isinstance(value, dict) else [*map(json_text, value), "[DONE]"]
        data = (json_text(value) if isinstance(value, dict) else "".join(f"data: {one}\n\n" for one in events)).encode()
        with suppress(OSError):  # who asked is gone
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-Content-Type-Options", "nosniff")
            if close:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            self.wfile.write(data)

    def version_string(self) -> str:
        """Return what the header Server says."""
        return "fedtailor"

    def address_string(self) -> str:
        """Return who asks; over a socket in the file system nobody has an address."""
        return str(self.client_address[0]) if self.client_address else ""

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: clients log the questions themselves."""


class _Local(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    on_network = False


class _Loopback(ThreadingHTTPServer):
    daemon_threads = True
    on_network = True


def _ready(server: Any, service: Service) -> Any:
    server.service, server.places = service, BoundedSemaphore(MOST_AT_ONCE)
    return server


@contextmanager
def local_socket(service: Service, place: Path) -> Iterator[Any]:
    """Give a server on a socket of mode 0600 in the file system, which is removed afterwards.

    Raises:
        SettingError: if it cannot be made there, or another service answers on it.
    """
    path = str(place)
    if len(os.fsencode(path)) > MOST_PATH:
        raise SettingError(
            f"the socket {path} has a path of more than {MOST_PATH} bytes; name a shorter one: --socket /tmp/ask.sock"
        )
    _clear(place)
    before = os.umask(0o177)
    try:
        server = _Local(path, Handler)
    except OSError as fault:
        raise SettingError(f"{cause_of(fault, f'the socket {path} cannot be made')}; name another place: --socket FILE") from None
    finally:
        os.umask(before)
    try:
        with server:
            yield _ready(server, service)
    finally:
        place.unlink(missing_ok=True)


def _clear(place: Path) -> None:
    """Remove a socket that a service which was killed has left."""
    try:
        mode = place.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SettingError(f"{place} is there and is no socket; name another place: --socket FILE")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(place))
        except OSError:
            place.unlink(missing_ok=True)
            return
    raise SettingError(f"another service answers on {place}; end that one, or name another place: --socket FILE")


@contextmanager
def loopback(service: Service, address: str) -> Iterator[Any]:
    """Give a server on loopback.

    Raises:
        SettingError: if the address is another machine's, or taken.
    """
    host, colon, port = address.rpartition(":")
    if host not in HERE or not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise SettingError(f"--http {printable(address)[:60]} is no place on this machine alone; write 127.0.0.1:8080")
    try:
        server = _Loopback(("127.0.0.1", int(port)), Handler)
    except OSError as fault:
        raise SettingError(f"{cause_of(fault, f'127.0.0.1:{port} cannot be listened on')}; name another port") from None
    with server:
        yield _ready(server, service)
