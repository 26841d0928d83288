"""The file of a network, which its server's operator writes: who takes part, and where the server is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import SettingError
from ...old_names import OLD_NAMES, new_name
from ...yaml_text import read_yaml_file
from .engine_settings import SERVER

PORT = 8102
ADMIN, AUTHORITY = "admin", "authority"  # folders beside the server's and the sites' own
OLD_SERVER = next(iter(OLD_NAMES["kit"]))  # the folder of a server's kit in networks of before
TAKEN = (SERVER, ADMIN, AUTHORITY, OLD_SERVER, "admitted")
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Network:
    """Who takes part."""

    name: str
    host: str = "localhost"  # under which sites reach the server; localhost binds to this machine alone
    port: int = PORT
    sites: tuple[str, ...] = ()  # whose keys are made beside the server's, as for trials; others are admitted

    def __post_init__(self) -> None:
        if not _is_word(self.name):
            raise SettingError(f"name is a word of letters from a to z, digits, - and _; got {self.name!r}")
        if not isinstance(self.host, str) or not HOST.fullmatch(self.host):
            raise SettingError(
                f"server is the host name or address under which sites reach it, such as server.example.org; got {self.host!r}"
            )
        if isinstance(self.port, bool) or not isinstance(self.port, int) or not 0 < self.port < 2**16:
            raise SettingError(f"port is a number from 1 to 65535; got {self.port!r}")
        wrong = [site for site in self.sites if not is_site_name(site)]
        if wrong:
            raise SettingError(
                f"sites: {wrong[0]!r} is no name of a site: letters from a to z, digits, - and _, and not {', '.join(TAKEN)}"
            )
        if len(set(self.sites)) < len(self.sites):
            raise SettingError(f"sites lists each site once; got {list(self.sites)}")

    @property
    def user(self) -> str:
        """The administrator's name in certificates."""
        return f"admin@{self.name}.net"


def read_network(path: Path) -> Network:
    """Return the network that a YAML file describes.

    Raises:
        SettingError: if the file is missing or wrong.
    """
    content = read_yaml_file(path, "the file of a network", tip="write one with server: HOST and sites: [NAME, ...]")
    if not isinstance(content, Mapping):
        raise SettingError(f"{path}: a network is a mapping; write server: HOST and sites: [NAME, ...]")
    strange = sorted(set(map(str, content)) - {"name", "server", "port", "sites"})
    if strange:
        if new := new_name("network", strange[0]):
            raise SettingError(f"{path}: {new}")
        raise SettingError(f"{path}: {strange[0]} is no setting of a network; known are name, server, port, sites")
    sites = content.get("sites", [])
    if not isinstance(sites, list) or not all(isinstance(site, str) for site in sites):
        raise SettingError(f"{path}: sites is a list of names; got {sites!r}")
    return Network(
        name=content.get("name", path.stem),
        host=content.get("server", "localhost"),
        port=content.get("port", PORT),
        sites=tuple(sites),
    )


def is_site_name(name: object) -> bool:
    """Return whether a site can have this name."""
    return _is_word(name) and name not in TAKEN


def _is_word(name: object) -> bool:
    return isinstance(name, str) and WORD.fullmatch(name) is not None
