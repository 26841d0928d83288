"""What a site's processes may do: the engine nearly nothing, the agent no network, the forwarder one port."""

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from ...errors import FedtailorError
from ...yaml_text import read_yaml_file
from ..sandbox.restrictions import SYSTEM, Restrictions, python_places
from ..sandbox.seccomp import INTERNET

ENGINE_FOLDER = "engine"  # in the kit: all that the engine may write
GB = 2**30
LIMITS = {"FSIZE": 4 * GB, "NOFILE": 4096}  # of the engine
MOST_PROCESSES = 16  # of the engine: it needs two
MOST_FOLDER_BYTES, FREE_BYTES = 8 * GB, GB // 2  # in its folder, and that it must leave on the disk
MEMORY_SHARE = 2  # of the machine's memory it may use one part in so many
DNS_PORT = 53


def engine_rules(kit: Path, *, sandbox: bool) -> Restrictions:
    """Return what the engine may do: read Python and our code, write its own folder, and open no socket at all."""
    read, names = python_places()
    return Restrictions(
        read=[*SYSTEM, *read],
        names=names,
        write=[str(kit / ENGINE_FOLDER), "/dev/null"],
        limits=LIMITS,
        sandbox=sandbox,
    )


def agent_rules(kit: Path, endpoint: str, *, sandbox: bool) -> Restrictions:
    """Return what the agent may do: all with files, and nothing with networks, but to reach the endpoint that the site's owner has named."""
    port = _port(endpoint) if endpoint else None
    if port is None:
        return Restrictions(capabilities=True, sandbox=sandbox)
    return Restrictions(ports=[port, DNS_PORT], families=INTERNET, capabilities=True, sandbox=sandbox)


def forwarder_rules(port: int, *, sandbox: bool) -> Restrictions:
    """Return what the forwarder may do: connect to one port, and look names up."""
    read, names = python_places()
    return Restrictions(
        read=[*SYSTEM, *read],
        names=names,
        write=["/dev/null"],
        ports=[port, DNS_PORT],
        families=INTERNET,
        limits={"FSIZE": GB, "NOFILE": 256},
        sandbox=sandbox,
    )


def engine_excess(engine: int, folder: Path) -> str:
    """Return what the engine uses above its share, in words; "" if nothing."""
    try:
        processes = [psutil.Process(engine), *psutil.Process(engine).children(recursive=True)]
        memory = sum(process.memory_info().rss for process in processes)
    except psutil.Error:  # it ends just now
        return ""
    if len(processes) > MOST_PROCESSES:
        return f"has {len(processes)} processes; at most {MOST_PROCESSES} are permitted"
    if memory > (most := psutil.virtual_memory().total // MEMORY_SHARE):
        return f"uses {memory / GB:.1f} GB of memory; at most {most / GB:.1f} GB are permitted"
    size = sum(path.lstat().st_size for path in folder.rglob("*"))
    if size > MOST_FOLDER_BYTES:
        return f"has {size / GB:.1f} GB of files; at most {MOST_FOLDER_BYTES / GB:.0f} GB are permitted"
    if size > FREE_BYTES and shutil.disk_usage(folder).free < FREE_BYTES:
        return f"has {size / GB:.1f} GB of files, and this disk is nearly full"
    return ""


def _port(file: str) -> int | None:
    """Return the port of the endpoint that a file names; None if it names none."""
    try:
        url = urlsplit(str(read_yaml_file(Path(file).expanduser(), "the file of an endpoint")["url"]))
        return url.port or {"http": 80, "https": 443}.get(url.scheme)
    except (FedtailorError, KeyError, TypeError, ValueError):  # who asks the endpoint says so
        return None
