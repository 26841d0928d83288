"""The processes of a kit: no second command, and nothing that a dead one has left."""

import json
import socket
import subprocess
import sys

import pytest

from fedtailor.errors import RunError
from fedtailor.network.command import processes


def stand_in(*words):
    """Start a process with the words of an engine's command."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *words])


def test_what_a_dead_command_has_left_of_this_kit_is_ended_and_nothing_else(tmp_path):
    modules = ("client.client_train", "client.worker_process", "server.server_train", "server.runner_process")
    left = [stand_in(f"{processes.ENGINE}{module}", "-m", str(tmp_path / "north")) for module in modules]
    others = [
        stand_in(f"{processes.ENGINE}client.client_train", "-m", str(tmp_path / "south")),
        stand_in(str(tmp_path / "north")),
    ]
    left += [
        stand_in(f"{processes.ENGINE}client.worker_process", "-m", str(tmp_path / "north" / "engine")),
        stand_in("fedtailor.network.site.agent", str(tmp_path / "north"), "north", "3"),
    ]
    try:
        processes.end_leftovers(tmp_path / "north")
        assert [process.wait(10) for process in left] == [-9] * len(left)
        assert [process.poll() for process in others] == [None, None]
    finally:
        for process in (*left, *others):
            process.kill()
            process.wait()


@pytest.mark.parametrize("host", ["localhost", "server.example.org"])
def test_a_port_that_another_program_has_is_said_and_the_engine_is_not_started(tmp_path, monkeypatch, host):
    started = []
    monkeypatch.setattr(processes, "engine_process", started.append)
    with socket.create_server(("localhost", 0)) as other:
        port = other.getsockname()[1]
        (tmp_path / "network.json").write_text(json.dumps({"kit": "server", "server": host, "port": port}))
        with pytest.raises(RunError, match=f"port {port} of this machine cannot be served"):
            processes.serve(tmp_path, print)
    assert started == []


def test_a_kit_is_served_once_at_a_time(tmp_path):
    for _ in range(2):  # the lock ends with who holds it
        with (
            processes.alone(tmp_path),
            pytest.raises(RunError, match="is in use: a fedtailor net serve or site join runs with it"),
        ):
            processes.serve(tmp_path, print)


ADDRESSES = {"own.example.org": "127.0.1.1", "elsewhere.example.org": "192.0.2.1"}


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("localhost", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("own.example.org", ""),
        ("elsewhere.example.org", ""),
        ("nowhere.example.org", ""),
    ],
)
def test_a_server_listens_where_it_was_named_if_that_is_this_machine(tmp_path, monkeypatch, host, address):
    def resolve(name, *rest):
        if name not in ADDRESSES:
            raise socket.gaierror("no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ADDRESSES[name], 0))]

    started = []
    monkeypatch.setattr(processes.socket, "getaddrinfo", resolve)
    monkeypatch.setattr(processes.subprocess, "Popen", lambda command, **settings: started.append(command))
    (tmp_path / "network.json").write_text(json.dumps({"kit": "server", "server": host, "port": 8102}))
    processes.engine_process(tmp_path)
    module = started[0].index(processes.LISTENER)
    assert started[0][module + 1 : module + 3] == [address, f"{processes.ENGINE}server.server_train"]


def test_marked_lines_are_passed_on_but_no_flood_of_them():
    said = []
    marked = processes.Marked("fedtailor refused", said.append)
    for line in (
        "2026 WARNING x",
        "2026 WARNING refused fedtailor refused sys.shell\x1b[2J",
        *["fedtailor refused " + "y" * 1000] * 100,
    ):
        marked(line)
    assert len(said) == 5
    assert said[0] == "fedtailor refused sys.shell\\x1b[2J"
    assert len(said[1]) == 300
