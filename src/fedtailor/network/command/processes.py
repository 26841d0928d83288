"""Runs the engine's process of a kit, and starts it anew when it dies."""

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
from types import FrameType
from typing import Any

import psutil

from ...errors import RunError
from ..kit.engine_settings import ORG, SERVER, prepare
from ..kit.environment import clean_environment
from ..kit.kits import kit_role

MODULES = {SERVER: "server.server_train", "site": "client.client_train"}
ENGINE = "nvflare.private.fed.app."  # its modules
LISTENER = "fedtailor.federation.nvflare.listener"  # runs the server's
LOCK = "in-use"  # in the kit: held by the command that runs its engine
END_S = 15.0  # that a process gets to end by itself
CALM_S = 60.0  # a process that lived so long may be started anew at once
PAUSES_S = (1.0, 2.0, 5.0, 15.0, 30.0)  # before each further start of one that dies at once


def engine_process(kit: Path, role: str) -> "subprocess.Popen[bytes]":
    """Start the engine of a kit; what it prints goes to the kit's own file."""
    kit = kit.resolve()
    end_leftovers(kit)
    prepare(kit, role)
    told = kit_role(kit)
    names = [f"org={ORG}"] if role == SERVER else [f"uid={told['kit']}", f"org=org_{told['kit'].replace('-', '_')}"]
    config = "fed_server.json" if role == SERVER else "fed_client.json"
    listening = ["-m", LISTENER, "127.0.0.1" if _is_here_alone(told["server"]) else ""] if role == SERVER else ["-m"]
    command = [sys.executable, "-Pu", *listening, f"{ENGINE}{MODULES[role]}", "-m", str(kit), "-s", config]
    with (kit / "engine.log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--set", "secure_train=true", *names, "config_folder=config"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes to us alone, and a whole group can be ended
            env=_environment(kit),
        )


def serve(kit: Path, role: str, say: Callable[[str], None], watch: Callable[[], None] = lambda: None) -> None:
    """Run a kit's engine until Ctrl-C or SIGTERM; one that dies is started anew.

    Args:
        say: told in a line what happens.
        watch: called about twice a second.

    Raises:
        RunError: if another command runs with this kit, or another program has the server's port.
    """
    with _alone(kit):
        _serve(kit, role, say, watch)


@contextmanager
def _alone(kit: Path) -> Iterator[None]:
    """Hold the kit's lock inside the block; it ends with the process that holds it, however that dies."""
    with (kit / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"{kit} is in use: a fedtailor net serve or site join runs with it on this machine; end that one first"
            ) from None
        yield


def _serve(kit: Path, role: str, say: Callable[[str], None], watch: Callable[[], None]) -> None:
    stop: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        stop.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    if role == SERVER:
        end_leftovers(kit)
        _check_port(kit_role(kit))
    deaths = 0
    while not stop:
        began = time.monotonic()
        process = engine_process(kit, role)
        while not stop and process.poll() is None:
            watch()
            time.sleep(0.5)
        end_process(process, kit)
        if stop:
            break
        deaths = 0 if time.monotonic() - began > CALM_S else deaths + 1
        pause = PAUSES_S[min(deaths, len(PAUSES_S)) - 1] if deaths else PAUSES_S[0]
        say(f"the engine ended with {process.returncode}; it starts anew in {pause:.0f} s (its words: {kit / 'engine.log'})")
        waited = time.monotonic() + pause
        while not stop and time.monotonic() < waited:
            time.sleep(0.2)
    watch()


def _check_port(told: Mapping[str, Any]) -> None:
    """Raise RunError if another program of this machine listens there: the engine would say so in its log alone, and die again and again."""
    port, place = told["port"], "localhost" if _is_here_alone(told["server"]) else ""
    with socket.socket() as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what an ended server has left does not count
        try:
            ours.bind((place, port))
        except OSError as fault:
            raise RunError(
                f"port {port} of this machine cannot be served ({fault.strerror}); end the program that uses it (ss -ltnp shows which), or make the network "
                "anew in another folder, with another port in its file"
            ) from None


def _is_here_alone(host: str) -> bool:
    """Return whether a server of this name is reached from its own machine alone, and listens there alone."""
    return host.lower() == "localhost" or host.startswith("127.")


class Tail:
    """Passes on the lines that are added to a file; called again and again."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        """Take the file, which need not be there yet, and who is told; lines that are there already are old."""
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


def end_process(process: "subprocess.Popen[bytes]", kit: Path) -> None:
    """End an engine with all processes that it started."""
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
    end_leftovers(kit.resolve())


def end_leftovers(kit: Path) -> None:
    """Kill what a dead command or engine of this kit has left: two engines would be one machine, two processes of a job write to one run."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if str(kit) in words and any(word.startswith(ENGINE) for word in words):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _environment(kit: Path) -> dict[str, str]:
    """Return the environment of an engine, and so of all that it starts: temporary files beside the kit, few threads kept, no telemetry of libraries.

    A piece of a message that is not acknowledged is sent again after RETRY_WAIT, and given up RETRY_TIMEOUT later; each message that came is
    remembered by a thread for as long as both together, so that they are a compromise: between threads (20 for each message a second) and machines
    or links that are busy for a while. WINDOW is what may be under way: at 5 Mbit/s 13 s of it, so that nothing is sent twice for slowness.
    Once a job has ended at the server, its sites get OUTCOME_WAIT to say that it has ended there: of a site that died no word comes.
    """
    return {
        **clean_environment(kit),
        "TMPDIR": str(kit / "work" / "tmp"),
        "NVFLARE_CLIENT_OUTCOME_WAIT_TIMEOUT": "15",
        "NVFLARE_STREAMING_RETRY_WAIT": "14",
        "NVFLARE_STREAMING_RETRY_TIMEOUT": "6",
        "NVFLARE_STREAMING_WINDOW_SIZE": str(8 * 2**20),
        "NVFLARE_STREAMING_ACK_INTERVAL": str(2 * 2**20),
        "TOKENIZERS_PARALLELISM": "false",
        "MALLOC_ARENA_MAX": "4",
        "PYTHONUNBUFFERED": "1",
    }
