"""The launcher of a site: it starts agent, engine and forwarder side by side, each restricted before it starts, and again when one ends.

`python -P -m fedtailor.network.command.site_processes KIT` does what `fedtailor site join KIT` does, with few words. The launcher holds no data and
no key, opens no connection, and reads nothing of what the others say to each other.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...federation.nvflare.line import AGENT, FORWARDER
from ..kit.engine_settings import prepare
from ..kit.environment import ENDPOINT, clean_environment
from ..kit.kits import kit_role
from ..kit.site_file import read_site_file
from ..sandbox.restrictions import check_sandbox
from ..site.calls import pair_for_calls
from .processes import ENGINE, alone, end_group, end_leftovers, engine_environment, pause_after, until_stopped
from .site_rules import ENGINE_FOLDER, agent_rules, engine_excess, engine_rules, forwarder_rules

LOG = "engine.log"  # in the kit: what the engine prints
MOST_LOG_BYTES = 20 * 2**20
REFUSED = "fedtailor refused"  # in what the engine prints
LOOK_S = 5.0  # between two looks at what the engine uses
AGENT_MODULE = "fedtailor.network.site.agent"
SITE_ENGINE = "fedtailor.federation.nvflare.site_engine"


@dataclass(kw_only=True)
class Sibling:
    """One of a site's processes."""

    name: str
    start: Callable[[], "subprocess.Popen[bytes]"]
    process: "subprocess.Popen[bytes] | None" = None
    deaths: int = 0  # one after the other, each soon after its start
    began: float = 0.0
    due: float = 0.0  # when it is started, if it does not run


class SiteProcesses:
    """The processes of one site; use it in a `with`, and call `look` now and then."""

    def __init__(self, kit: Path, say: Callable[[str], None]) -> None:
        """Take the site's folder, and what is called with a line on what happens."""
        self._kit, self._say, self._role = kit, say, kit_role(kit)
        self._sandbox = read_site_file(kit).sandbox != "none"
        self._agent, self._engine = pair_for_calls()
        self._ends, self._hand = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        starts = {"agent": self._start_agent, "forwarder": self._start_forwarder, "engine": self._start_engine}
        self._siblings = [Sibling(name=name, start=start) for name, start in starts.items()]
        self._look_at = 0.0

    def __enter__(self) -> "SiteProcesses":
        end_leftovers(self._kit)
        self.look()
        return self

    def __exit__(self, *_: object) -> None:
        for sibling in reversed(self._siblings):
            if sibling.process is not None:
                end_group(sibling.process)
        end_leftovers(self._kit)
        for end in (self._agent, self._engine, self._ends, self._hand):
            end.close()

    def look(self) -> None:
        """Start what does not run, and end an engine that uses more than it may."""
        for sibling in self._siblings:
            if sibling.process is not None and sibling.process.poll() is not None:
                self._note_end(sibling)
            if sibling.process is None and time.monotonic() >= sibling.due:
                sibling.began, sibling.process = time.monotonic(), sibling.start()
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_S
            engine = self._siblings[-1].process
            if engine is not None and (excess := engine_excess(engine.pid, self._kit / ENGINE_FOLDER)):
                self._say(f"the engine {excess}; it is ended")
                end_group(engine)

    def _note_end(self, sibling: Sibling) -> None:
        assert sibling.process is not None
        code, sibling.process = sibling.process.returncode, None
        sibling.deaths, pause = pause_after(sibling.deaths, time.monotonic() - sibling.began)
        sibling.due = time.monotonic() + pause
        log = self._kit / ("agent.log" if sibling.name == "agent" else LOG)
        self._say(f"the {sibling.name} ended with {code}; it is started again in {pause:.0f} s (its words: {log})")
        if sibling.name == "engine":
            end_leftovers(self._kit / ENGINE_FOLDER)

    def _start_agent(self) -> "subprocess.Popen[bytes]":
        number = self._agent.fileno()
        command = [sys.executable, "-Pu", "-m", AGENT_MODULE, str(self._kit), self._role["kit"], str(number)]
        (self._kit / "work" / "tmp").mkdir(parents=True, exist_ok=True)
        environment = {**clean_environment(self._kit), "TMPDIR": str(self._kit / "work" / "tmp")}
        rules = agent_rules(self._kit, os.environ.get(ENDPOINT, ""), sandbox=self._sandbox)
        return self._popen(rules.command(command), self._kit / "agent.log", environment, self._kit, number)

    def _start_forwarder(self) -> "subprocess.Popen[bytes]":
        number, host, port = self._ends.fileno(), self._role["server"], str(self._role["port"])
        command = [sys.executable, "-Pu", "-m", "fedtailor.network.site.forwarder", host, port, str(number)]
        rules = forwarder_rules(int(port), sandbox=self._sandbox)
        return self._popen(rules.command(command), self._kit / LOG, self._engine_environment(), Path("/"), number)

    def _start_engine(self) -> "subprocess.Popen[bytes]":
        folder = self._kit / ENGINE_FOLDER
        shutil.rmtree(folder, ignore_errors=True)  # whatever an engine before has left there, links among it
        folder.mkdir(mode=0o700)
        shutil.copytree(self._kit / "startup", folder / "startup")
        prepare(folder, "site")
        name, numbers = self._role["kit"], (self._engine.fileno(), self._hand.fileno())
        command = [sys.executable, "-Pu", "-m", SITE_ENGINE, f"{ENGINE}client.client_train", "-m", str(folder), "-s"]
        given = ["secure_train=true", f"uid={name}", f"org=org_{name.replace('-', '_')}", "config_folder=config"]
        environment = self._engine_environment() | {"HOME": str(folder), AGENT: str(numbers[0]), FORWARDER: str(numbers[1])}
        rules = engine_rules(self._kit, sandbox=self._sandbox)
        full = rules.command([*command, "fed_client.json", "--set", *given])
        return self._popen(full, self._kit / LOG, environment, folder, *numbers)

    def _engine_environment(self) -> dict[str, str]:
        """Return the environment of a process that has nothing of the site's, the name of its endpoint's file least of all."""
        given = {name: value for name, value in os.environ.items() if name != ENDPOINT}
        return engine_environment(self._kit, self._kit / ENGINE_FOLDER / "work" / "tmp", given)

    def _popen(
        self, command: list[str], log: Path, environment: Mapping[str, str], folder: Path, *numbers: int
    ) -> "subprocess.Popen[bytes]":
        if log.is_file() and log.stat().st_size > MOST_LOG_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
        with log.open("ab") as sink:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C comes to the launcher alone, and a whole group can be ended
                env=environment,
                cwd=folder,
                pass_fds=numbers,
            )


def serve_site(kit: Path, say: Callable[[str], None], watch: Callable[[], None] = lambda: None) -> None:
    """Run a site's processes until Ctrl-C or SIGTERM.

    Args:
        say: called with a line on what happens.
        watch: called about twice a second.

    Raises:
        RunError: if another command runs with this kit.
        SettingError: if this system cannot restrict the processes.
    """
    kit = kit.resolve()
    check_sandbox(read_site_file(kit).sandbox, kit_role(kit)["server"])
    with alone(kit), until_stopped() as stopped, SiteProcesses(kit, say) as site:
        while not stopped():
            site.look()
            watch()
            time.sleep(0.5)
    watch()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        serve_site(Path(sys.argv[1]), lambda text: print(text, flush=True))
