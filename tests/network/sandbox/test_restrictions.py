"""What a restricted process can still do: real processes try it, and the kernel answers."""

import json
import os
import socket
import subprocess
import sys
import time

import psutil
import pytest

from fedtailor.errors import SettingError
from fedtailor.network.command.site_rules import agent_rules, engine_excess, engine_rules, forwarder_rules
from fedtailor.network.sandbox import landlock, restrictions
from fedtailor.network.sandbox.restrictions import Restrictions, check_sandbox, missing

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sites run on Linux")
TRIES = """
import ctypes, json, os, resource, socket, sys
secret, own, parent, port = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
libc = ctypes.CDLL(None, use_errno=True)
def ptrace():
    if libc.ptrace(16, parent, 0, 0): raise OSError(ctypes.get_errno(), "ptrace")
def io_uring():
    if libc.syscall(425, 1, ctypes.create_string_buffer(200)) < 0: raise OSError(ctypes.get_errno(), "io_uring")
def server(): socket.create_server(("127.0.0.1", 0)).close()
tries = {
    "read data": lambda: open(secret).read(), "write beside it": lambda: open(secret + "2", "w"), "read users": lambda: open("/etc/passwd").read(),
    "read environment": lambda: open(f"/proc/{parent}/environ").read(), "read memory": lambda: open(f"/proc/{parent}/mem", "rb"),
    "list processes": lambda: os.listdir("/proc"), "signal": lambda: os.kill(parent, 0), "ptrace": ptrace, "io_uring": io_uring,
    "connect": lambda: socket.create_connection(("127.0.0.1", port), 2).close(), "listen": server,
    "datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
    "Unix socket": lambda: socket.socket(socket.AF_UNIX), "large file": lambda: open(own + "/large", "wb").write(b"0" * 3_000_000),
    "own file": lambda: open(own + "/x", "w").write("1"), "pair": lambda: socket.socketpair(), "python": lambda: __import__("decimal"),
}
allowed = []
for name, attempt in tries.items():
    try: attempt(); allowed.append(name)
    except OSError: pass
print(json.dumps(allowed))
"""
NEEDS = pytest.mark.skipif(landlock.abi() < 6, reason="this kernel has no Landlock of ABI 6")


@pytest.fixture
def attempt(tmp_path):
    """Return a way to learn what a process with given rules can do, of TRIES; its own folder is kit/engine."""
    kit = tmp_path / "a kit"
    (kit / "engine").mkdir(parents=True)
    (kit / "data.jsonl").write_text("secret")

    def run(rules, *, child=False):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            words = [str(kit / "data.jsonl"), str(kit / "engine"), str(os.getpid()), str(listening.getsockname()[1])]
            begun = ["-c", "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))", sys.executable] if child else []
            command = rules.command([sys.executable, *begun, "-P", "-c", TRIES, *words])
            done = subprocess.run(command, cwd=kit / "engine", capture_output=True, text=True, check=True)
        return set(json.loads(done.stdout))

    run.kit = kit
    return run


@NEEDS
@pytest.mark.attack
def test_an_engine_that_was_taken_over_reads_nothing_and_reaches_nobody(attempt):
    rules = engine_rules(attempt.kit, sandbox=True)
    small = Restrictions(**{**vars(rules), "limits": {"FSIZE": 1_000_000}})
    assert attempt(small) == {"own file", "pair", "python"}


@NEEDS
@pytest.mark.attack
@pytest.mark.parametrize("child", [False, True], ids=["agent", "the model's process"])
def test_an_agent_has_its_files_and_no_network_at_all(attempt, child):
    allowed = attempt(agent_rules(attempt.kit, "", sandbox=True), child=child)
    assert {"read data", "own file", "pair"} <= allowed
    assert {"connect", "listen", "datagram", "Unix socket", "io_uring", "ptrace", "signal"}.isdisjoint(allowed)


@NEEDS
def test_an_agent_with_an_endpoint_reaches_its_port_alone(attempt, tmp_path):
    (tmp_path / "mine.yaml").write_text("url: http://127.0.0.1:1/v1\nmodel: a\n")
    allowed = attempt(agent_rules(attempt.kit, str(tmp_path / "mine.yaml"), sandbox=True))
    assert {"connect", "listen", "Unix socket"}.isdisjoint(allowed)


@NEEDS
@pytest.mark.attack
def test_a_forwarder_has_no_files_and_one_port(attempt):
    allowed = attempt(forwarder_rules(1, sandbox=True))
    assert {"read data", "own file", "connect", "listen", "Unix socket", "signal"}.isdisjoint(allowed)


def test_a_restricted_process_ends_with_who_started_it():
    script = (
        "import subprocess, sys; from fedtailor.network.sandbox.restrictions import Restrictions\n"
        "command = Restrictions().command([sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(60)'])\n"
        "child = subprocess.Popen(command, stdout=subprocess.PIPE); child.stdout.readline(); print(child.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        parent.wait()
        until = time.monotonic() + 10
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
            time.sleep(0.05)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_system_without_landlock_is_refused_unless_its_owner_says_so(monkeypatch):
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    with pytest.raises(
        SettingError, match=r"Landlock is missing.*start with --sandbox none: then whoever takes over the engine can read"
    ):
        check_sandbox("full", "localhost")
    check_sandbox("none", "server.example.org")
    assert "files and TCP connections are not restricted" in missing()[0]


def test_a_system_that_can_restrict_is_not_advised_to_leave_it_but_in_a_trial(monkeypatch):
    monkeypatch.setattr(landlock, "abi", lambda: 6)
    with pytest.raises(SettingError, match=r"sandbox: none, .* server at server.example.org .* start with --sandbox full"):
        check_sandbox("none", "server.example.org")
    for server in ("localhost", "127.0.0.1"):
        check_sandbox("none", server)


def test_what_an_engine_uses_above_its_share_is_said(tmp_path, monkeypatch):
    from fedtailor.network.command import site_rules

    assert engine_excess(os.getpid(), tmp_path) == ""
    (tmp_path / "x").write_bytes(b"0" * 1000)
    monkeypatch.setattr(site_rules, "MOST_FOLDER_BYTES", 100)
    assert "of files" in engine_excess(os.getpid(), tmp_path)
    monkeypatch.setattr(site_rules, "MOST_PROCESSES", 0)
    assert engine_excess(os.getpid(), tmp_path) == "has 1 processes; at most 0 are permitted"
    assert engine_excess(2**22 + 1, tmp_path) == ""


def test_the_places_of_python_are_folders_of_code():
    read, names = restrictions.python_places()
    assert all(os.path.isabs(place) for place in (*read, *names))
    assert os.path.expanduser("~") not in read
