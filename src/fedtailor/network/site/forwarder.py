"""Carries the engine's connections to the server: `python -P -m fedtailor.network.site.forwarder HOST PORT SOCKET`.

The engine can open no socket. It makes a pair, and hands one end over; here that end is joined to a connection to the one address that the kit
names. TLS stays between the engine and the server.
"""

import socket
import sys
import threading

BUFFER_BYTES = 256 * 1024
MOST = 16  # connections at the same time
CONNECT_S = 30.0


def forward(ends: socket.socket, host: str, port: int) -> None:
    """Join each socket that arrives to a connection of its own, until nobody is left who could send one."""
    free = threading.Semaphore(MOST)
    while True:
        mark, received, _, _ = socket.recv_fds(ends, 1, 1)
        if not mark:
            return
        for number in received:
            free.acquire()
            threading.Thread(target=_carry, args=(socket.socket(fileno=number), host, port, free), daemon=True).start()


def _carry(inner: socket.socket, host: str, port: int, free: threading.Semaphore) -> None:
    try:
        with inner, socket.create_connection((host, port), CONNECT_S) as outer:
            outer.settimeout(None)
            outer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=_copy, args=(outer, inner), daemon=True)
            back.start()
            _copy(inner, outer)
            back.join()
    except OSError as fault:
        print(f"{host}:{port} cannot be reached: {fault}", file=sys.stderr, flush=True)
    finally:
        free.release()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Copy bytes one way until either side ends, and end both: half a connection is of no use to TLS."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    try:
        while size := source.recv_into(buffer):
            sink.sendall(buffer[:size])
    except OSError:
        pass
    for side in (source, sink):
        try:
            side.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue


if __name__ == "__main__":
    forward(socket.socket(fileno=int(sys.argv[3])), sys.argv[1], int(sys.argv[2]))
