"""The engine's bytes reach the one address that the kit names, and come back."""

import socket
import threading
import time

import pytest

from fedtailor.network.site.forwarder import forward


@pytest.fixture
def handing():
    """Return a way to open a connection as an engine does, and a server that answers with what came."""
    server = socket.create_server(("127.0.0.1", 0))

    def echo():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(2**16):
                    connection.sendall(data)

    ends, hand = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    threading.Thread(target=echo, daemon=True).start()
    threading.Thread(target=forward, args=(ends, *server.getsockname()), daemon=True).start()

    def connect():
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(hand, [b"."], [theirs.fileno()])
        ours.settimeout(20)
        return ours

    yield connect, server
    server.close()


def test_bytes_go_and_come_and_an_end_is_an_end(handing):
    connect, _ = handing
    sent = bytes(range(256)) * 8000
    with connect() as ours:
        threading.Thread(target=ours.sendall, args=(sent,), daemon=True).start()
        found = b""
        while len(found) < len(sent):
            found += ours.recv(2**16)
        assert found == sent
        ours.shutdown(socket.SHUT_WR)
        assert ours.recv(1) == b""


def test_a_server_that_is_away_ends_the_connection(handing, capfd):
    connect, server = handing
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    with connect() as ours:
        assert ours.recv(1) == b""
    said, until = "", time.monotonic() + 10
    while "cannot be reached" not in said and time.monotonic() < until:
        said += capfd.readouterr().err
    assert "cannot be reached" in said


def test_a_forwarder_ends_when_nobody_can_send_it_a_connection():
    ends, hand = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    forwarder = threading.Thread(target=forward, args=(ends, "127.0.0.1", 1), daemon=True)
    forwarder.start()
    hand.close()
    forwarder.join(10)
    assert not forwarder.is_alive()
