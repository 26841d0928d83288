"""A server's port under 1,500 connections of strangers while a job runs: the run continues, and an honest newcomer joins."""

import resource
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
from nets import PROTOCOLS, SITES, net_job, same_adapter, until, write_rows, write_site

pytest.importorskip("nvflare")

from fedtailor.federation.nvflare.administration import ServerSession
from fedtailor.federation.nvflare.line import NetError
from fedtailor.network.command.processes import end_process, site_process
from fedtailor.network.command.submit import run_on
from fedtailor.network.command.world import make_world, running
from fedtailor.network.kit.kits import make_kits
from fedtailor.running import run

pytestmark = [pytest.mark.slow, pytest.mark.attack, pytest.mark.xdist_group("network")]
SILENT, SLOW, GARBAGE, NEWCOMER = 500, 500, 500, "newcomer"
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # the beginning of a handshake, which slow ones send byte by byte
JOIN_S, MOST_S, ROUNDS = 5.0, 60.0, 60
LOCAL = {**PROTOCOLS["averaging"]["local"], "epochs": 20}  # so that rounds last while strangers come
LONG_ROUNDS = {**PROTOCOLS["averaging"], "local": LOCAL}


class Strangers:
    """Connections that never become one: opened in turns, and kept as long as the server keeps them."""

    def __init__(self, port):
        self.port, self.open, self.over = port, [], threading.Event()
        self.dripping = threading.Thread(target=self.drip)

    def one(self, number):
        kind = number % 3
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self.open.append((kind, connection))
        if kind == 2:
            self.send(connection, bytes(range(256)) * 4)

    def drip(self):
        for byte in HELLO * 100:
            if self.over.wait(1.0):
                return
            for kind, connection in list(self.open):
                if kind == 1:
                    self.send(connection, bytes([byte]))

    @staticmethod
    def send(connection, data):
        with suppress(OSError):  # the server has given it up
            connection.sendall(data)

    def close(self):
        self.over.set()
        if self.dripping.ident is not None:
            self.dripping.join()
        for _, connection in self.open:
            connection.close()


def joins(kit, port):
    """Return how long a site's own connection takes until it is one: a handshake with both certificates, after which the server keeps it."""
    startup, began = kit / "startup", time.monotonic()
    context = ssl.create_default_context(cafile=startup / "rootCA.pem")
    context.check_hostname = False
    context.load_cert_chain(startup / "client.crt", startup / "client.key")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain, context.wrap_socket(plain) as honest:
        took = time.monotonic() - began
        honest.settimeout(0.2)
        with pytest.raises(TimeoutError):
            honest.recv(1)
    return took


def is_there(world, site):
    try:
        with ServerSession(world.folder / "admin", world.network.user) as server:
            return site in server.connected()
    except NetError:
        return False


@pytest.fixture
def many_files():
    """Permit this process to have all connections open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip(f"a process may open {hard} files here, and this takes 4096")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_run_continues_and_a_newcomer_joins_under_a_thousand_silent_and_slow_connections_and_garbage(
    many_files, tmp_path, tiny_backbone_folder
):
    write_rows(tmp_path)
    job = net_job(SimpleNamespace(folder=tmp_path, backbone=tiny_backbone_folder), LONG_ROUNDS, stop__rounds=ROUNDS)
    world, local = make_world(job, tmp_path / "world"), run(job, out=tmp_path / "local")
    port, rounds, found = world.network.port, [], SimpleNamespace(waits=[], faults=[])
    begun, flood = threading.Event(), Strangers(port)

    def strangers():
        try:
            begun.wait()
            make_kits(replace(world.network, sites=(*SITES, NEWCOMER)), world.folder)
            write_site(world.folder / NEWCOMER, tmp_path / f"{SITES[0]}.jsonl", tiny_backbone_folder)
            flood.dripping.start()
            for number in range(SILENT + SLOW + GARBAGE):
                flood.one(number)
                if number % 300 == 299:
                    found.waits.append(joins(world.folder / NEWCOMER, port))
            began, found.at = time.monotonic(), len(rounds)
            process = site_process(world.folder / NEWCOMER)
            try:
                until(lambda: is_there(world, NEWCOMER), 120)
                found.process_s = time.monotonic() - began
                found.waits.append(joins(world.folder / NEWCOMER, port))
                while len(rounds) < ROUNDS and time.monotonic() < began + MOST_S:
                    flood.one(2)
                    time.sleep(0.05)
            finally:
                end_process(process, world.folder / NEWCOMER)
        except BaseException as fault:
            found.faults.append(fault)

    def watch(kind, facts):
        if kind == "round":
            rounds.append(time.monotonic())
            begun.set()

    thread = threading.Thread(target=strangers)
    with running(world):
        thread.start()
        try:
            done = run_on(job, world.folder, out=tmp_path / "net", watcher=watch)
        finally:
            begun.set()
            thread.join()
            flood.close()
    assert not found.faults
    print(
        f"{len(flood.open)} strangers; connections of a site after {[round(each, 2) for each in found.waits]} s; a site's own start and joining took "
        f"{found.process_s:.1f} s; {found.at} of {ROUNDS} rounds done when all were there",
        flush=True,
    )
    assert max(found.waits) < JOIN_S
    assert found.at < ROUNDS - 5  # the run went on under all of them
    assert len(rounds) == ROUNDS
    clients = pd.read_parquet(done.folder / "clients.parquet")
    assert "error" not in clients or clients["error"].isna().all()
    assert same_adapter(local.folder, done.folder)
