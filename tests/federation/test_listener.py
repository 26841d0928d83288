"""The server's listener: who says nothing keeps nobody out, and it listens where it was named."""

import socket
import ssl
import threading
import time
from types import SimpleNamespace

import pytest

pytest.importorskip("nvflare")
from nvflare.fuel.f3.drivers import tcp_driver
from nvflare.fuel.f3.drivers.connector_info import ConnectorInfo, Mode
from nvflare.fuel.f3.drivers.net_utils import parse_url

from fedtailor.federation.nvflare import guests, listener
from fedtailor.network.command.world import free_port
from fedtailor.network.kit.kits import make_kits
from fedtailor.network.kit.network_file import Network


@pytest.fixture(scope="module")
def kits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    make_kits(Network(name="net", port=free_port(), sites=("north",)), folder)
    return folder


@pytest.fixture
def served(kits, monkeypatch):
    """Return an NVFlare driver that listens, as the server's engine tells it to, on all addresses."""
    monkeypatch.setattr(tcp_driver, "TcpStreamServer", tcp_driver.TcpStreamServer)  # put back afterwards
    monkeypatch.setattr(listener, "HANDSHAKE_S", 1.0)
    listener.install("127.0.0.1", kits / "server" / "local" / "revoked.json")
    startup, port = kits / "server" / "startup", free_port()
    certificates = {
        "ca_cert": startup / "rootCA.pem",
        "server_cert": startup / "server.crt",
        "server_key": startup / "server.key",
    }
    params = {**parse_url(f"stcp://0:{port}"), "secure": True, **{name: str(path) for name, path in certificates.items()}}
    driver, connected = tcp_driver.TcpDriver(), []
    driver.register_conn_monitor(
        SimpleNamespace(state_change=lambda connection: connected.append(connection.get_conn_properties()))
    )
    threading.Thread(
        target=driver.listen, args=(ConnectorInfo("one", driver, params, Mode.PASSIVE, 0, 0, False, False),), daemon=True
    ).start()
    until = time.monotonic() + 10
    while driver.server is None and time.monotonic() < until:
        time.sleep(0.01)
    yield SimpleNamespace(port=port, server=driver.server, connected=connected)
    driver.server.shutdown()
    driver.server.socket.close()


def test_a_silent_connection_keeps_nobody_out_and_is_dropped(served, kits):
    context = site_context(kits)
    silent = [socket.create_connection(("127.0.0.1", served.port), timeout=5) for _ in range(20)]
    silent[0].sendall(b"\x16\x03\x01")  # the beginning of a handshake
    silent[1].sendall(b"GET / HTTP/1.1\r\n\r\n")
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as plain, context.wrap_socket(plain) as honest:
        assert honest.getpeercert()["subject"]
        until = time.monotonic() + 5
        while not served.connected and time.monotonic() < until:
            time.sleep(0.01)
        assert served.connected[0]["peer_cn"] == "north"
    for one in silent:
        try:
            while one.recv(100):  # TLS says why, and closes
                pass
        except ConnectionResetError:
            pass
        one.close()
    assert {found["peer_cn"] for found in served.connected} == {"north"}  # none else got as far as to be a connection


def test_the_listener_is_at_the_address_that_was_named(served):
    assert served.server.socket.getsockname() == ("127.0.0.1", served.port)


def site_context(kits):
    startup = kits / "north" / "startup"
    context = ssl.create_default_context(cafile=startup / "rootCA.pem")
    context.check_hostname = False
    context.load_cert_chain(startup / "client.crt", startup / "client.key")
    return context


@pytest.mark.attack
def test_a_thousand_silent_connections_and_garbage_keep_nobody_out(served, kits, monkeypatch):
    monkeypatch.setattr(listener, "HANDSHAKE_S", 60.0)
    monkeypatch.setattr(guests, "MOST_HANDSHAKES", 100)
    context, others, waits = site_context(kits), [], []
    for number in range(1500):
        one = socket.create_connection(("127.0.0.1", served.port), timeout=10)
        if number % 3 == 0:
            one.sendall(bytes(range(256)))
        others.append(one)
        if number % 300 == 299:
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", served.port), timeout=10) as plain, context.wrap_socket(plain) as honest:
                honest.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    honest.recv(1)  # it stays
            waits.append(time.monotonic() - began)
    for one in others:
        one.close()
    assert max(waits) < 5


def test_a_revoked_certificate_is_refused_and_one_that_is_here_leaves(served, kits, caplog):
    from fedtailor.network.kit.authority import issued, revoke

    file = kits / "server" / "local" / "revoked.json"
    try:
        with (
            socket.create_connection(("127.0.0.1", served.port), timeout=20) as plain,
            site_context(kits).wrap_socket(plain) as honest,
        ):
            honest.settimeout(0.3)
            with pytest.raises(TimeoutError):
                honest.recv(1)
            assert revoke(kits, "north") == file
            honest.settimeout(20)
            assert honest.recv(1) == b""
        with (
            socket.create_connection(("127.0.0.1", served.port), timeout=20) as plain,
            site_context(kits).wrap_socket(plain) as honest,
        ):
            assert honest.recv(1) == b""
        assert "fedtailor noticed: north, whose certificate was revoked, was refused from 127.0.0.1" in caplog.text
        assert issued(kits, "north").numbers
    finally:
        file.unlink()


class Connection:
    """With the certificate of one site."""

    def getpeercert(self):
        return {"serialNumber": "0A", "subject": ((("commonName", "north"),),)}


def test_a_kit_that_is_used_from_two_places_is_named(caplog):
    here = guests.Guests(None)
    with here.here(Connection(), "10.0.0.1") as welcome, here.here(Connection(), "10.0.0.1"):
        assert welcome
        assert caplog.text == ""  # the engine and its job
        with here.here(Connection(), "10.0.0.2") as second:
            assert second
    assert "the kit of north is used from 10.0.0.2 and 10.0.0.1; if it was copied, revoke it" in caplog.text
