"""Runs the server's engine, and starts it again when it dies; what it shares with the processes of sites."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from ...errors import RunError
from ...printable import printable
from ...storage import writing
from ..kit.engine_settings import ORG, SERVER, prepare
from ..kit.environment import clean_environment
from ..kit.kits import kit_role
from ..sandbox.restrictions import is_loopback

ENGINE = "nvflare.private.fed.app."  # its modules
OURS = (ENGINE, "fedtailor.network.site.agent")  # what stands in the commands of processes that a kit has
LAUNCHER = "fedtailor.network.command.site_processes"
LISTENER = "fedtailor.federation.nvflare.listener"  # runs the server's
WATCHED = "fedtailor.orphans"  # runs what ends with whoever started it
LOCK = "in-use"  # in the kit: held by the command that runs its engine
END_S = 15.0  # that a process gets to end by itself
CALM_S = 60.0  # a process that lived so long may be started again at once
PAUSES_S = (1.0, 2.0, 5.0, 15.0, 30.0)  # before each further start of one that dies at once


def engine_process(kit: Path) -> "subprocess.Popen[bytes]":
    """Start the server's engine; what it prints goes to the kit's own file."""
    kit = kit.resolve()
    end_leftovers(kit)
    prepare(kit, SERVER)
    address = listening_address(kit_role(kit)["server"])
    listening = [WATCHED, str(os.getpid()), LISTENER, address, f"{ENGINE}server.server_train"]
    command = [sys.executable, "-Pu", "-m", *listening, "-m", str(kit), "-s", "fed_server.json"]
    with (kit / "engine.log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--set", "secure_train=true", f"org={ORG}", "config_folder=config"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes to us alone, and a whole group can be ended
            env=engine_environment(kit, kit / "work" / "tmp"),
        )


def site_process(kit: Path) -> "subprocess.Popen[bytes]":
    """Start a site's launcher in a process of its own; what it says goes to the kit's own file."""
    with (kit / "launcher.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-Pu", "-m", LAUNCHER, str(kit.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def serve(kit: Path, say: Callable[[str], None], watch: Callable[[], None] = lambda: None) -> None:
    """Run the server's engine until Ctrl-C or SIGTERM; one that dies is started again.

    Args:
        say: called with a line on what happens.
        watch: called about twice a second.

    Raises:
        RunError: if another command runs with this kit, or another program has the server's port.
    """
    with alone(kit), until_stopped() as stopped:
        end_leftovers(kit)
        _check_port(kit_role(kit))
        deaths = 0
        while not stopped():
            began = time.monotonic()
            process = engine_process(kit)
            while not stopped() and process.poll() is None:
                watch()
                time.sleep(0.5)
            end_process(process, kit)
            if stopped():
                break
            deaths, pause = pause_after(deaths, time.monotonic() - began)
            say(
                f"the engine ended with {process.returncode}; it is started again in {pause:.0f} s (its words: {kit / 'engine.log'})"
            )
            waited = time.monotonic() + pause
            while not stopped() and time.monotonic() < waited:
                time.sleep(0.2)


@contextmanager
def alone(kit: Path) -> Iterator[None]:
    """Hold the kit's lock inside the block, or raise RunError if another process does; it ends with the process that holds it, however that dies."""
    with writing(kit / LOCK):
        file = (kit / LOCK).open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"{kit} is in use: a fedtailor net serve or site join runs with it on this machine; end that one first"
            ) from None
        yield


@contextmanager
def until_stopped() -> Iterator[Callable[[], bool]]:
    """Give what says whether Ctrl-C or SIGTERM has come since the block began."""
    stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stop.append(number))
    yield lambda: bool(stop)


def pause_after(deaths: int, lived_s: float) -> tuple[int, float]:
    """Return how often a process has now died in a row, and the seconds before it is started again."""
    deaths = 0 if lived_s > CALM_S else deaths + 1
    return deaths, PAUSES_S[min(deaths, len(PAUSES_S)) - 1] if deaths else PAUSES_S[0]


def _check_port(about: Mapping[str, Any]) -> None:
    """Raise RunError if another program of this machine listens there: the engine would say so in its log alone, and die again and again."""
    port, place = about["port"], listening_address(about["server"])
    with socket.socket() as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what an ended server has left does not count
        try:
            ours.bind((place, port))
        except OSError as fault:
            raise RunError(
                f"port {port} of this machine cannot be served ({fault.strerror}); end the program that uses it (ss -ltnp shows which), or make the network "
                "again in another folder, with another port in its file"
            ) from None


def listening_address(host: str) -> str:
    """Return the address of this machine on which a server of this name listens: that of the name; "", which is all, if that is none of this machine's.

    A name that this machine gives itself on loopback (127.0.1.1) says nothing of where others find it.
    """
    if is_loopback(host):
        return "127.0.0.1"
    try:
        address = str(socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
        with socket.create_server((address, 0)):
            return "" if address.startswith("127.") else address
    except OSError:
        return ""


class Tail:
    """Passes on the lines that are added to a file; called again and again."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        """Take the file, which need not be there yet, and what is called with its lines; lines that are there already are old."""
        self._path, self._say = path, say
        self._seen = path.stat().st_size if path.is_file() else 0

    def __call__(self) -> None:
        """Pass on what is new."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._seen)
            whole, _, _ = file.read().rpartition(b"\n")
        if whole:
            self._seen += len(whole) + 1
            for line in whole.decode("utf-8", "replace").splitlines():
                self._say(line)


class Marked:
    """Passes on lines that hold a mark, from there on; called again and again. Who was taken over may write anything: it is printable, and not much."""

    MOST, MOST_CHARACTERS = 5, 300  # lines a minute

    def __init__(self, mark: str, say: Callable[[str], None]) -> None:
        """Take the mark, and what is called with each line."""
        self._mark, self._say, self._since, self._count = mark, say, -60.0, 0

    def __call__(self, line: str) -> None:
        """Pass on a line, if it has the mark and is not one too many."""
        if self._mark not in line:
            return
        if time.monotonic() - self._since > 60:
            self._since, self._count = time.monotonic(), 0
        self._count += 1
        if self._count <= self.MOST:
            self._say(printable(line[line.index(self._mark) :][: self.MOST_CHARACTERS]))


def end_process(process: "subprocess.Popen[bytes]", kit: Path) -> None:
    """End an engine with all processes that it started."""
    end_group(process)
    end_leftovers(kit.resolve())


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(END_S)
            break
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def end_leftovers(kit: Path) -> None:
    """Kill what a dead command or engine of this kit has left: two engines would be one machine, two processes of a job write to one run."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if {str(kit), str(kit / "engine")} & set(words) and any(word.startswith(OURS) for word in words):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def engine_environment(kit: Path, temporary: Path, given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of an engine, and so of all that it starts: its own temporary files, few threads kept, no telemetry of libraries.

    A piece of a message that is not acknowledged is sent again after RETRY_WAIT, and given up RETRY_TIMEOUT later; each message that came is
    remembered by a thread for as long as both together, so that they are a compromise: between threads (20 for each message a second) and machines
    or links that are busy for a while. WINDOW is what may be under way: at 5 Mbit/s 13 s of it, so that nothing is sent twice for slowness.
    Once a job has ended at the server, its sites get OUTCOME_WAIT to say that it has ended there: of a site that died no word comes.
    """
    return {
        **clean_environment(kit, given),
        "TMPDIR": str(temporary),
        "NVFLARE_CLIENT_OUTCOME_WAIT_TIMEOUT": "15",
        "NVFLARE_STREAMING_RETRY_WAIT": "14",
        "NVFLARE_STREAMING_RETRY_TIMEOUT": "6",
        "NVFLARE_STREAMING_WINDOW_SIZE": str(8 * 2**20),
        "NVFLARE_STREAMING_ACK_INTERVAL": str(2 * 2**20),
        "TOKENIZERS_PARALLELISM": "false",
        "MALLOC_ARENA_MAX": "4",
        "PYTHONUNBUFFERED": "1",
    }
