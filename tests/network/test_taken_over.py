"""A site whose engine was taken over on purpose, and one whose processes are killed: the launcher that people run, and what it starts, for real."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from nets import until, write_site

pytest.importorskip("nvflare")

from fedtailor.network.command import site_processes, site_rules
from fedtailor.network.command.processes import LOCK, alone, end_process, site_process
from fedtailor.network.command.site_processes import SiteProcesses
from fedtailor.network.command.world import free_port
from fedtailor.network.kit.kits import make_kits
from fedtailor.network.kit.network_file import Network
from fedtailor.network.sandbox import landlock

pytestmark = [pytest.mark.slow, pytest.mark.attack, pytest.mark.xdist_group("network")]
NEEDS = pytest.mark.skipif(landlock.abi() < 6, reason="this kernel has no Landlock of ABI 6")
TAKEN = r"""
import ctypes, json, os, socket, struct, subprocess, sys, time
kit, other, agent, port = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
line = socket.socket(fileno=int(os.environ["FEDTAILOR_AGENT_SOCKET"]))
libc = ctypes.CDLL(None, use_errno=True)
def ptrace():
    if libc.ptrace(16, agent, 0, 0): raise OSError(ctypes.get_errno(), "ptrace")
def fork():
    return [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(40)]
tries = {
    "data": lambda: open(kit + "/data.jsonl").read(), "site file": lambda: open(kit + "/local/fedtailor.json").read(), "names": lambda: os.listdir(kit),
    "runs": lambda: open(kit + "/runs/x", "w"), "other site": lambda: open(other + "/local/fedtailor.json").read(), "link": lambda: os.link(kit + "/data.jsonl", "mine"),
    "environment": lambda: open(f"/proc/{agent}/environ").read(), "memory": lambda: open(f"/proc/{agent}/mem", "rb"), "files": lambda: os.listdir(f"/proc/{agent}/fd"),
    "ptrace": ptrace, "signal": lambda: os.kill(agent, 9), "group": lambda: os.killpg(os.getpgid(agent), 9),
    "connect": lambda: socket.create_connection(("127.0.0.1", port), 2), "listen": lambda: socket.create_server(("127.0.0.1", 0)),
    "datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "own folder": lambda: open("found", "w"),
    "large file": lambda: [file.write(bytes(2**20)) for file in [open("large", "wb", 0)] for _ in range(8)],
}
allowed = []
for name, attempt in tries.items():
    try: attempt(); allowed.append(name)
    except OSError: pass
head = struct.Struct("!BQ")
def send(kind, call, payload): line.send(head.pack(kind, call) + payload)
send(1, 7 << 32 | 1, json.dumps({"do": "open", "size": 10**10}).encode())      # ten gigabytes are announced
for number in range(100_000): send(2, 5, b"x")                                  # pieces of no message
send(1, 7 << 32 | 2, json.dumps({"do": "open", "size": 2}).encode()); send(2, 7 << 32 | 2, b"{}")
send(1, 7 << 32 | 3, json.dumps({"do": "answer", "ticket": "../x", "size": 4}).encode()); send(2, 7 << 32 | 3, b"\xff" * 4)
heard = {}  # by the number of a call: workers answer in any order
line.settimeout(60)
while len(heard) < 3:
    packet = line.recv(2**20)
    call = head.unpack_from(packet)[1]
    if packet[0] == 1 and call: heard[call & 0xFFFFFFFF] = json.loads(packet[9:])
json.dump({"allowed": allowed, "heard": heard}, open("new", "w")); os.rename("new", "found.json")
fork()
time.sleep(600)
"""


@pytest.fixture
def kit(tmp_path):
    """Return a site's kit, in a folder with blanks whose name alone is longer than the path of a Unix socket may be."""
    network = tmp_path / ("a site of ours " * 8).strip()
    make_kits(Network(name="n", port=free_port(), sites=("north",)), network)  # of a server that is not there
    folder = network / "north"
    (folder / "data.jsonl").write_text('{"input": "the-secret", "target": "x"}\n')
    write_site(folder, folder / "data.jsonl", tmp_path / "no-backbone")
    write_site(tmp_path / "south", folder / "data.jsonl", tmp_path / "no-backbone")
    (folder / "runs").mkdir(exist_ok=True)
    return folder


@NEEDS
def test_an_engine_that_was_taken_over_gets_nothing_and_the_agent_lives(kit, tmp_path, monkeypatch):
    said, monkeyed = [], SiteProcesses._popen

    def popen(self, command, log, *others):
        if site_processes.SITE_ENGINE in command:
            agent = self._siblings[0].process.pid
            given = [str(kit), str(tmp_path / "south"), str(agent), "1"]
            command = [*command[: command.index("-m", command.index("-Pu"))], "-c", TAKEN, *given]
        return monkeyed(self, command, log, *others)

    monkeypatch.setattr(SiteProcesses, "_popen", popen)
    monkeypatch.setattr(site_rules, "LIMITS", {**site_rules.LIMITS, "FSIZE": 4 * 2**20})
    monkeypatch.setattr(site_processes, "LOOK_S", 1.0)
    with SiteProcesses(kit, said.append) as site:
        agent, file = site._siblings[0].process, kit / "engine" / "found.json"
        found = json.loads(until(lambda: site.look() or (file.is_file() and file.read_text())))
        until(lambda: site.look() or any("processes; at most 16 are permitted; it is ended" in line for line in said))
        assert agent.poll() is None
    assert found["allowed"] == ["own folder"]
    failures = {number: each.get("failure") for number, each in found["heard"].items()}
    assert failures["1"] == ["refused", "TooLarge"]
    assert failures["3"][0] in ("refused", "failed")  # an answer was asked for that nobody was given a ticket for
    assert "the-secret" not in json.dumps(found)
    assert not (kit / "runs" / "x").exists()
    notes = (kit / "site.log").read_text()
    assert "the engine sent a message that is too large" in notes
    assert notes.count("the engine sent") <= 3  # a hundred thousand packets are no hundred thousand lines


def processes_of(launcher):
    """Return a launcher's processes by what they are."""
    found = {}
    for one in psutil.Process(launcher.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            words = " ".join(one.cmdline())
            name = next((name for name in ("site.agent", "site.forwarder", "client_train") if name in words), "")
            if name and "sandbox.start" not in words:
                found[name] = one
    return found


def all_three(launcher):
    found = processes_of(launcher)
    return found if len(found) == 3 else None


def test_who_is_killed_is_started_again_and_nothing_is_orphaned(kit):
    launcher = site_process(kit)
    try:
        for moment, name in enumerate(("site.agent", "client_train", "site.forwarder", "site.agent", "client_train")):
            before = until(lambda: all_three(launcher))
            time.sleep(0.3 * moment)
            before[name].kill()
            after = until(lambda: (found := all_three(launcher)) and found[name] != before[name] and found)  # noqa: B023
            assert {each for each in before if before[each] == after[each]} == set(before) - {name}
        for moment in (0.0, 0.1, 0.5):
            last = until(lambda one=launcher: all_three(one))
            time.sleep(moment)
            launcher.kill()
            launcher.wait()
            until(lambda: not [one for one in last.values() if one.is_running() and one.status() != "zombie"], 10)  # noqa: B023
            with alone(kit):  # the lock went with it
                pass
            launcher = site_process(kit)
        last = until(lambda one=launcher: all_three(one))
        os.kill(launcher.pid, signal.SIGTERM)
        assert launcher.wait(60) == 0
        assert not [one for one in last.values() if one.is_running() and one.status() != "zombie"]
    finally:
        end_process(launcher, kit)
    assert {path.name for path in kit.iterdir()} >= {LOCK, "launcher.log"}
    assert not [path for path in kit.rglob("*") if path.is_socket()]


def test_without_landlock_a_site_says_so_and_ends(kit, tmp_path):
    """As it is on an old kernel: here landlock.abi says so."""
    code = "from fedtailor.network.sandbox import landlock; landlock.abi = lambda: 0\nfrom fedtailor.cli import main; main()"
    command = [sys.executable, "-c", code, "site", "join", str(kit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "this system cannot keep the site's engine away from its data" in said
    assert "start with --sandbox none" in said
    assert "Traceback" not in said
    assert Path(kit / "local" / "fedtailor.json").is_file()
