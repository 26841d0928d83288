"""A whole network on this machine, in separate processes: to learn with, and to test with."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...assembly.data import divide_data
from ...errors import RunError, SettingError
from ...federation.nvflare.line import NetError
from ...job import Job
from ...printable import printable
from ...protocols import PROTOCOLS
from ...protocols.retrieval.ready import PRIVATE
from ...retrieval.allows import FILE as ALLOWS
from ...storage import write_text
from ..kit.authority import make_network
from ..kit.engine_settings import SERVER
from ..kit.kits import check_installed, kit_role
from ..kit.network_file import ADMIN, Network
from ..kit.policy import Policy
from ..kit.reportable import reportable
from ..kit.site_file import SiteFile
from ..meeting.meeting import backbone_name, plain_examples
from .processes import end_process, engine_process, site_process

MOST_SITES = 4
START_S = 240.0  # that all processes get to find one another
LOOK_S = 1.0  # between two checks that the server runs


@dataclass(frozen=True, kw_only=True)
class World:
    """A network whose kits all lie in one folder."""

    folder: Path
    network: Network


def make_world(job: Job, folder: Path, *, policy: Policy | None = None) -> World:
    """Make a network with a site for each client of a job that runs here; each gets a file with its own examples.

    Raises:
        SettingError: if the job has more than MOST_SITES clients, or `folder` is not empty.
    """
    check_installed()
    if folder.exists() and any(folder.iterdir()):
        raise SettingError(f"{folder} is not an empty folder; name another with --folder")
    divided = divide_data(job)
    clients = sorted(divided.train)
    if len(clients) > MOST_SITES:
        raise SettingError(
            f"the job has {len(clients)} clients, and each would be three processes on this machine; at most {MOST_SITES}: set clients.count={MOST_SITES}"
        )
    network = Network(name="try", port=free_port(), sites=tuple(clients))
    make_network(network, folder)
    path = job.path(job.backbone)
    for client in clients:
        parts = (divided.train, divided.validation, divided.test)
        owned = [example for part in parts for example in part.get(client, [])]
        file = folder / client / "data.jsonl"
        rows = [one["fields"] for one in plain_examples(sorted(owned, key=lambda example: _place(example.id)))]
        write_text(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        SiteFile(
            data=(str(file.resolve()),),
            validation_share=job.clients.validation_share,
            test_share=job.clients.test_share,
            backbones={backbone_name(job.backbone): str(path) if path.exists() else job.backbone},
            policy=policy or Policy(protocols=tuple(PROTOCOLS), reports=tuple(reportable()), min_examples=1),
        ).write(folder / client)
        write_text(folder / client / PRIVATE / ALLOWS, "share: any\n")  # of documents: here, to learn with
    return World(folder=folder, network=network)


@contextmanager
def running(world: World, say: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Run a server and all sites inside the block, each in processes of its own; a server that dies is started again, as `serve` does.

    Raises:
        RunError: if they do not find one another.
    """
    sites: list[tuple[subprocess.Popen[bytes], Path]] = []
    with _kept_up(world.folder / SERVER, say):
        try:
            _wait_for_port(world.network.port)
            for site in world.network.sites:
                say(f"starting {site}")
                sites.append((site_process(world.folder / site), world.folder / site))
            wait_until_up(world)
            yield
        finally:
            for process, kit in reversed(sites):
                end_process(process, kit)


@contextmanager
def _kept_up(kit: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Run the server's engine inside the block, in place of each one that dies another."""
    say("starting the server")
    server, over = engine_process(kit), threading.Event()

    def watch() -> None:
        nonlocal server
        while not over.wait(LOOK_S):
            if server.poll() is not None:
                say(
                    f"the server's engine ended with {server.returncode} and is started again; its last words: {_last_line(kit / 'engine.log')}"
                )
                server = engine_process(kit)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        end_process(server, kit)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
    return next((printable(line.strip()) for line in reversed(lines) if line.strip()), "none")


def free_port() -> int:
    """Return a port of this machine that nobody uses now."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def _wait_for_port(port: int) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        try:
            socket.create_connection(("localhost", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RunError(f"the server does not listen on port {port} after {START_S:.0f} s; its words are in server/engine.log")


def wait_until_up(world: World) -> None:
    """Return once the server answers and all sites have reached it.

    Raises:
        RunError: if they do not find one another.
    """
    from ...federation.nvflare.administration import ServerSession

    kit, until = world.folder / ADMIN, time.monotonic() + START_S
    missing = set(world.network.sites)
    while missing and time.monotonic() < until:
        try:
            with ServerSession(kit, kit_role(kit)["user"]) as server:
                while missing and time.monotonic() < until:
                    missing = set(world.network.sites) - set(server.connected())
                    time.sleep(0.2)
        except NetError:
            time.sleep(0.5)
    if missing:
        raise RunError(
            f"{', '.join(sorted(missing))} did not reach the server in {START_S:.0f} s; see the logs of each kit in {world.folder}"
        )


def _place(name: str) -> tuple[str, int]:
    """Return what orders examples as they were in their source."""
    source, _, number = name.rpartition("-")
    return source, int(number) if number.isdigit() else 0
