"""The server's engine with a listener of ours: `python -m fedtailor.federation.nvflare.listener ADDRESS MODULE ...` runs NVFlare's MODULE.

NVFlare 2.9 does the TLS handshake in the loop that accepts connections, without a time-out: one connection that says nothing keeps all others out.
Here each has a thread of its own for it, and HANDSHAKE_S. NVFlare also listens on all addresses, whatever the server's name is.
"""

import logging
import runpy
import selectors
import ssl
import sys
import time
from pathlib import Path
from typing import Any

from nvflare.fuel.f3.drivers import tcp_driver

from .guests import Guests
from .passing import install_internal

HANDSHAKE_S = 10.0  # of the whole handshake, however the bytes come
log = logging.getLogger(__name__)


def install(address: str, revoked: Path | None = None) -> None:
    """Let every TCP listener that this process opens from now on accept at once, and one for all addresses listen on `address`; "" leaves that.

    Args:
        revoked: a file with the numbers of certificates that are refused; see `Guests`.
    """
    theirs: Any = tcp_driver.TcpStreamServer
    guests = Guests(revoked)

    class Listener(theirs):  # type: ignore[misc]
        server_address: Any
        request_queue_size = 128  # connections that wait to be accepted; theirs is 5

        def __init__(self, driver: Any, connector: Any) -> None:
            super().__init__(driver, connector)
            if self.ssl_context:
                self.socket.do_handshake_on_connect = False  # of those that are accepted

        def server_bind(self: Any) -> None:
            host, port = self.server_address
            self.server_address = (host or address, port)
            super().server_bind()

        def finish_request(self, request: Any, client_address: Any) -> None:
            if not self.ssl_context:
                super().finish_request(request, client_address)
                return
            try:
                with guests.shaking(request, client_address[0]):
                    shake_hands(request, HANDSHAKE_S)
            except OSError as fault:  # a wrong certificate, garbage, or nothing in time; also ssl.SSLError and TimeoutError
                log.debug("connection from %s: %s", client_address, fault)
                return
            with guests.here(request, client_address[0]) as welcome:
                if welcome:
                    super().finish_request(request, client_address)

    tcp_driver.TcpStreamServer = Listener


def shake_hands(connection: ssl.SSLSocket, seconds: float) -> None:
    """Carry out a connection's TLS handshake.

    Raises:
        TimeoutError: if it takes longer than `seconds`.
        OSError: if it fails.
    """
    until = time.monotonic() + seconds
    connection.setblocking(False)
    with selectors.DefaultSelector() as ready:
        ready.register(connection, selectors.EVENT_READ)
        while True:
            try:
                connection.do_handshake()
                break
            except ssl.SSLWantReadError:
                wanted = selectors.EVENT_READ
            except ssl.SSLWantWriteError:
                wanted = selectors.EVENT_WRITE
            ready.modify(connection, wanted)
            if not ready.select(until - time.monotonic()) or time.monotonic() > until:
                raise TimeoutError(f"no TLS handshake in {seconds:.0f} s")
    connection.setblocking(True)


def main() -> None:
    """Run the module with the rest of the arguments."""
    _, address, module, *rest = sys.argv
    sys.argv = [module, *rest]
    install(address, Path(rest[rest.index("-m") + 1]) / "local" / "revoked.json")  # -m: the workspace, which is the kit
    install_internal()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
