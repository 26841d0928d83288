"""Connections of NVFlare's processes that need no socket of a network and no path: one end of a pair is passed on.

A kit's engine and the process of its job speak so (scheme `passed`), where NVFlare 2.9 listens in plain TCP on loopback, open to every user of the
machine. A site's engine reaches the server so too: its sockets go to the launcher's forwarder.
"""

import os
import socket
import threading
from typing import Any

from nvflare.fuel.f3 import communicator
from nvflare.fuel.f3.drivers import tcp_driver
from nvflare.fuel.f3.drivers.base_driver import BaseDriver
from nvflare.fuel.f3.drivers.net_utils import get_ssl_context
from nvflare.fuel.f3.drivers.socket_conn import SocketConnection

from .line import FORWARDER, PARENT

SCHEME = "passed"
INTERNAL = "NVFLARE_INTERNAL_CONN_SCHEME"  # NVFlare's own name


class PassingDriver(BaseDriver):  # type: ignore[misc]
    """NVFlare's driver of connections between a kit's own processes."""

    ends: socket.socket | None = None  # of an engine: where ends arrive

    @staticmethod
    def supported_transports() -> list[str]:
        return [SCHEME]

    @staticmethod
    def capabilities() -> dict[str, Any]:
        return {}

    @staticmethod
    def get_urls(scheme: str, resources: Any) -> tuple[str, str]:
        return f"{SCHEME}://engine", f"{SCHEME}://engine"

    def listen(self, connector: Any) -> None:
        """Take what processes of jobs hand over; NVFlare calls this in a thread of its own."""
        assert self.ends is not None
        while not connector.stopped.is_set():
            _, handed, _, _ = socket.recv_fds(self.ends, 1, 1)
            for number in handed:
                threading.Thread(target=self._serve, args=(socket.socket(fileno=number), connector), daemon=True).start()

    def connect(self, connector: Any) -> None:
        """Hand an end to the engine, and serve the other."""
        self._serve(hand_over(int(os.environ[PARENT])), connector)

    def shutdown(self) -> None:
        self.close_all()

    def _serve(self, end: socket.socket, connector: Any) -> None:
        connection = SocketConnection(end, connector)
        self.add_connection(connection)
        connection.read_loop()
        self.close_connection(connection)


def hand_over(number: int) -> socket.socket:
    """Return one end of a new pair, whose other end goes over the socket of this number."""
    ours, theirs = socket.socketpair()
    with theirs:
        way = socket.socket(fileno=os.dup(number))
        with way:
            socket.send_fds(way, [b"."], [theirs.fileno()])
    return ours


def install_internal() -> None:
    """Let an engine and its jobs speak over pairs; called before NVFlare's own main function."""
    communicator.driver_mgr.register(PassingDriver)
    os.environ[INTERNAL] = SCHEME
    if PARENT not in os.environ:  # an engine, not the process of a job
        PassingDriver.ends, jobs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        jobs.set_inheritable(True)  # NVFlare starts jobs so that they inherit what can be inherited
        os.environ[PARENT] = str(jobs.detach())


def install_outward() -> None:
    """Let connections to the server go over the forwarder; called before NVFlare's own main function."""

    def connect(self: Any, connector: Any) -> None:
        self.connector = connector
        end = hand_over(int(os.environ[FORWARDER]))
        context = get_ssl_context(connector.params, ssl_server=False)
        connection = SocketConnection(context.wrap_socket(end) if context else end, connector, bool(context))
        self.add_connection(connection)
        connection.read_loop()
        self.close_connection(connection)

    tcp_driver.TcpDriver.connect = connect
