"""What each process of a site may do, and what of it this system cannot hold it to."""

import json
import os
import site
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ...errors import SettingError
from . import landlock, seccomp

SYSTEM = (
    "/usr /bin /lib /lib64 /etc/ld.so.cache /etc/ssl /etc/pki /etc/ca-certificates /etc/localtime /etc/timezone /etc/hosts /etc/resolv.conf "
    "/etc/nsswitch.conf /etc/host.conf /etc/gai.conf /etc/services /etc/mime.types /run/systemd/resolve /dev/urandom /dev/random /dev/zero /proc/self /proc/meminfo "
    "/proc/cpuinfo /proc/stat /proc/sys/kernel /proc/sys/vm /sys/devices/system/cpu"
).split()
NEEDED_ABI = 4  # of Landlock: files and TCP; a site asks for no less
WANTED_ABI = 6  # signals and abstract sockets too


@dataclass(frozen=True, kw_only=True)
class Restrictions:
    """What one process, and all that it starts, may do."""

    read: Sequence[str] | None = None  # files and folders that may be read; None leaves files alone
    names: Sequence[str] = ()  # folders whose names alone may be read
    write: Sequence[str] = ()
    ports: Sequence[int] = ()  # to which TCP may connect
    families: Sequence[int] | None = ()  # of sockets that may be opened; None leaves system calls alone
    limits: Mapping[str, int] = field(default_factory=dict)  # by name in `resource`
    capabilities: bool = False  # whether root keeps its own
    sandbox: bool = True  # False: limits alone, where the system has nothing else, or the site's owner says so

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command that applies all of it to itself, and then becomes `command`."""
        values = json.dumps({**asdict(self), "parent": os.getpid()})
        return [sys.executable, "-P", "-m", "fedtailor.network.sandbox.start", values, *command]


def python_places() -> tuple[list[str], list[str]]:
    """Return what Python reads to run our code and NVFlare's: places to read, and places whose names alone matter."""
    ours = Path(__file__).resolve().parents[2]
    read = {str(Path(place).resolve()) for place in (sys.prefix, sys.base_prefix, Path(sys.executable).resolve().parent)} | {
        str(ours)
    }
    names = {str(ours.parent)}
    for place in {*sys.path, site.getusersitepackages()}:
        if os.path.isabs(place) and os.path.exists(place):
            packages = Path(place).name in ("site-packages", "dist-packages")
            (read if packages or place.endswith(".zip") else names).add(str(Path(place).resolve()))
    return sorted(read), sorted(names)


def is_loopback(host: str) -> bool:
    """Return whether a server of this name is on the same machine."""
    return host.lower() == "localhost" or host.startswith("127.")


def missing() -> list[str]:
    """Return what this system cannot hold a site's processes to, a phrase each."""
    version, lacking = landlock.abi(), []
    if version < NEEDED_ABI:
        lacking.append(
            "files and TCP connections are not restricted (the kernel's Landlock is "
            + (f"ABI {version}" if version else "missing")
            + ")"
        )
    if version < WANTED_ABI:
        lacking.append("signals to other processes are not restricted (Landlock's ABI 6 does)")
    if not seccomp.available():
        lacking.append("datagrams and Unix sockets are not restricted (seccomp is missing)")
    return lacking


def check_sandbox(chosen: str, server: str) -> None:
    """Raise SettingError if this system cannot restrict a site's processes and the site's owner has not chosen "none", or has and it could.

    Args:
        server: the name of the network's server; with one on loopback, which is a trial, "none" may be chosen anywhere.
    """
    if chosen == "none" and landlock.abi() >= WANTED_ABI and not is_loopback(server):
        raise SettingError(
            f"the site's file says sandbox: none, and this system can keep the engine of a server at {server} away from the data; start with --sandbox full"
        )
    if chosen != "none" and landlock.abi() < NEEDED_ABI:
        raise SettingError(
            f"this system cannot keep the site's engine away from its data: {'; '.join(missing())}. Use Linux 6.7 or newer with Landlock, or start "
            "with --sandbox none: then whoever takes over the engine can read what this user can"
        )
