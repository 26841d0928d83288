"""The walk through docs/deployment.md from nothing to a finished run: its commands as they stand there, a server and two sites that are machines apart.

Each is a network namespace with its own address and its own names, joined by a bridge; what one machine sends another is copied by the test.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from jobs import tiny_rows
from nets import LOCAL, until

pytest.importorskip("nvflare")

from fedtailor.network.command.processes import end_group

pytestmark = [pytest.mark.slow, pytest.mark.attack, pytest.mark.xdist_group("network")]
PAGE = Path(__file__).parents[2] / "docs" / "deployment.md"
HOST, NAMES = "server.example.org", ("server", "north", "south")
MOST_COMMANDS = 8
LONG = "whose path has blanks and is longer than that of a Unix socket may be, which takes one hundred and eight bytes"


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def permitted():
    """Skip the test where no namespace can be made."""
    name = f"walk-{os.getpid()}"
    try:
        ip("netns", "add", name)
        ip("netns", "exec", name, "true")
        ip("netns", "delete", name)
    except (OSError, subprocess.CalledProcessError) as fault:
        pytest.skip(
            f"network namespaces cannot be made here, which takes root and iproute2: {getattr(fault, 'stderr', '') or fault}"
        )


class Machine:
    """A network namespace with a folder of its own, in which commands are typed."""

    def __init__(self, name, folder):
        self.name, self.folder, self.space = name, folder, f"walk-{os.getpid()}-{name}"
        self.left = []
        folder.mkdir()

    def ip(self, *words):
        return ip("-n", self.space, *words)

    def command(self, typed):
        program, *words = typed.split()
        assert program == "fedtailor"
        return ["ip", "netns", "exec", self.space, sys.executable, "-m", "fedtailor.cli", *words]

    def type(self, typed):
        done = subprocess.run(self.command(typed), cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (typed, done.stdout, done.stderr)
        return done.stdout

    def leave(self, typed):
        """Type a command that continues."""
        with (self.folder / "left.out").open("ab") as log:
            words, still = self.command(typed), subprocess.DEVNULL
            self.left.append(
                subprocess.Popen(words, cwd=self.folder, stdin=still, stdout=log, stderr=log, start_new_session=True)
            )

    def said(self):
        return (self.folder / "left.out").read_text()

    def listens(self):
        """Return the addresses on which something of this machine listens."""
        lines = subprocess.run(
            ["ip", "netns", "exec", self.space, "ss", "-Hltn"], capture_output=True, text=True, check=True
        ).stdout
        return [line.split()[3] for line in lines.splitlines()]

    def end(self):
        for process in reversed(self.left):
            end_group(process)


@contextmanager
def machines(folder):
    """Give three machines: the bridge is in the server's, so that nothing of this machine's own network is touched."""
    found = {name: Machine(name, folder / f"the machine of {name}, {LONG}") for name in NAMES}
    names = "".join(f"{address}\n" for address in ("127.0.0.1 localhost", f"10.77.0.1 {HOST}"))
    try:
        for number, machine in enumerate(found.values(), 1):
            ip("netns", "add", machine.space)
            machine.ip("link", "set", "lo", "up")
            own = Path("/etc/netns") / machine.space
            own.mkdir(parents=True)
            (own / "hosts").write_text(names)
            server = found["server"]
            if machine is server:
                server.ip("link", "add", "wire", "type", "bridge")
            else:
                server.ip("link", "add", f"to-{machine.name}", "type", "veth", "peer", "name", "wire", "netns", machine.space)
                server.ip("link", "set", f"to-{machine.name}", "master", "wire", "up")
            machine.ip("address", "add", f"10.77.0.{number}/24", "dev", "wire")
            machine.ip("link", "set", "wire", "up")
        yield found
    finally:
        for machine in found.values():
            machine.end()
            subprocess.run(["ip", "netns", "delete", machine.space], capture_output=True, check=False)
            shutil.rmtree(Path("/etc/netns") / machine.space, ignore_errors=True)


def commands_of_the_page():
    """Return what the page says to type, in its order, without what only says how it stands."""
    walk = PAGE.read_text(encoding="utf-8").split("## Three machines, step by step")[1].split("\n## ")[0]
    lines = [line for block in re.findall(r"```bash\n(.*?)```", walk, re.S) for line in block.splitlines()]
    typed = [re.sub(r"\s+#.*", "", line) for line in lines if line.startswith("fedtailor ")]
    return [line for line in typed if not line.startswith(("fedtailor net status", "fedtailor net try"))]


def prepare(machine, job_backbone):
    """Put on each machine what people have before they begin: data, a backbone, a job, the file of the network."""
    if machine.name == "server":
        page = PAGE.read_text(encoding="utf-8")
        (machine.folder / "hospitals.yaml").write_text(re.search(r'```text title="hospitals.yaml"\n(.*?)```', page, re.S)[1])
        shutil.copytree(job_backbone, machine.folder / job_backbone.name)
        job = {
            "name": "walk",
            "backbone": job_backbone.name,
            "task": {"kind": "generation"},
            "data": {"train": "at-sites.jsonl"},
            "clients": {"min_examples": 4},
            "tuning": {"kind": "lora", "rank": 2, "alpha": 4},
            "protocol": {"kind": "averaging", "local": LOCAL},
            "evaluation": {"generate": {"max_new_tokens": 4}},
            "stop": {"rounds": 2},
            "precision": "float32",
            "threads": 1,
        }
        (machine.folder / "job.yaml").write_text(json.dumps(job))
    else:
        rows = tiny_rows()[NAMES.index(machine.name) - 1 :: 2]
        frame = pd.DataFrame({"notes": [row["input"] for row in rows], "report": [row["target"] for row in rows]})
        frame.to_parquet(machine.folder / "reports.parquet")


def copied(source, goal):
    """Copy a file from one machine to another."""
    goal.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, goal)


def test_the_commands_of_the_page_lead_from_nothing_to_a_finished_run(permitted, tmp_path, tiny_backbone_folder):
    page, typed, began = commands_of_the_page(), [], time.monotonic()
    init, serve, request, admit, join, run = page
    backbone = tiny_backbone_folder
    with machines(tmp_path) as there:
        server, sites = there["server"], [there["north"], there["south"]]
        for machine in there.values():
            prepare(machine, backbone)

        def note(machine, line):
            typed.append(f"{time.monotonic() - began:5.1f} s  {machine.name}: {line}")
            return line

        server.type(note(server, init))
        server.leave(note(server, serve))
        for site in sites:
            site.type(note(site, request.replace("north", site.name)))
            copied(site.folder / site.name / f"{site.name}.request.pem", server.folder / f"{site.name}.request.pem")
        server.type(note(server, admit))
        for site in sites:
            answer = f"{site.name}.admitted.json"
            copied(server.folder / "hospitals" / "admitted" / answer, site.folder / site.name / answer)
            shutil.copytree(backbone, site.folder / site.name / "backbones" / backbone.name)
            site.leave(note(site, join.replace("north", site.name)))
        until(lambda: all("taking part" in site.said() for site in sites), 120)
        until(lambda: both_are_there(server), 240)
        shown = server.type(note(server, run))
        typed.append(f"{time.monotonic() - began:5.1f} s  over")
        print("\n".join(typed), flush=True)
        assert len(typed) - 1 <= MOST_COMMANDS
        check_run(server, shown)
        check_borders(there)


def both_are_there(server):
    shown = server.type("fedtailor net status hospitals")
    return "north" in shown and "south" in shown and "not connected" not in shown


def check_run(server, shown):
    """Assert that the run went to its end with both sites."""
    (summary,) = server.folder.glob("runs/*/summary.json")
    clients = pd.read_parquet(summary.parent / "clients.parquet")
    assert clients["round"].max() == 2
    assert set(clients["client"]) == {"north", "south"}
    assert "error" not in clients or clients["error"].isna().all()
    assert (summary.parent / "adapter" / "adapter_model.safetensors").is_file()
    assert json.loads(summary.read_text())["rounds"] == 2, shown


def check_borders(there):
    """Assert that keys were made at the sites and stay there, that sites listen nowhere, and the server where it was named."""
    for name in ("north", "south"):
        kit = there[name].folder / name
        keys = [kit / "startup" / "client.key", kit / "local" / "agent.key"]
        for key in keys:
            assert key.stat().st_mode & 0o077 == 0
            secret = key.read_bytes()
            for other in (each for each in there.values() if each.name != name):
                assert not [path for path in other.folder.rglob("*") if path.is_file() and secret in path.read_bytes()]
        assert there[name].listens() == []
    assert there["server"].listens() == ["10.77.0.1:8102"]
