"""Kits: what the server, each site and the administrator need to know one another. NVFlare makes the certificates."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import JobError, SettingError
from ...old_names import with_new_names
from ...storage import StorageError, write_text, writing
from ...text_files import read_json, read_text
from .engine_settings import ORG, SERVER
from .network_file import ADMIN, AUTHORITY, OLD_SERVER, Network
from .site_file import write_private

FILE = "network.json"  # in the network's folder, and in each kit
OPEN_RUN = "open-run.json"  # there: the job that takes questions
LAST_RUN = "last-run.json"  # in the administrator's kit: what each site reported when it last took part
RELEASE = "2.9"  # of NVFlare
INSTALL = "pip install 'fedtailor[net]'"
ERRNO = re.compile(r"\[Errno (\d+)\]")


class NetworkMissing(JobError):
    """The engine for networks is not installed."""


def check_installed() -> None:
    """Raise NetworkMissing if NVFlare is not there, or another release than the one whose inner parts we replace."""
    from importlib.metadata import version
    from importlib.util import find_spec

    if find_spec("nvflare") is None:
        raise NetworkMissing(f"jobs on many machines need NVFlare, which is not installed: {INSTALL}; all else works without it")
    if not (found := version("nvflare")).startswith(f"{RELEASE}."):
        raise NetworkMissing(
            f"jobs on many machines need NVFlare {RELEASE}, and {found} is installed: {INSTALL} installs the right one"
        )


def make_kits(network: Network, folder: Path) -> list[Path]:
    """Make certificates and kits in `folder`; those that are there stay as they are, so that a site can be added later.

    Returns:
        The new kits.

    Raises:
        SettingError: if `folder` holds something else, or the network there has another server.
    """
    check_installed()
    _remove_unfinished(folder)
    _check_folder(network, folder)
    admitted = read_folder(folder)["sites"] if (folder / FILE).is_file() else []
    authority = folder / AUTHORITY
    write_private(project := authority / "project.json", json.dumps(_project(network)))  # YAML reads JSON
    authority.chmod(0o700)
    command = [sys.executable, "-m", "nvflare.lighter.provision", "-p", str(project), "-w", str(authority), "--force"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    made = sorted((authority / network.name).glob("prod_*"))
    if done.returncode or not made:
        raise _not_made(folder, done.stderr or done.stdout)
    fresh: list[Path] = []
    for theirs, ours in {SERVER: server_kit(folder).name, network.user: ADMIN, **{site: site for site in network.sites}}.items():
        if (folder / ours).exists():
            _describe(network, folder / ours, ours)
        else:
            fresh.append(_new_kit(network, made[-1] / theirs, folder / ours))
    shutil.rmtree(made[-1])  # the kits are copies; what signs further ones is in state/
    write_text(folder / FILE, json.dumps(_description(network)) + "\n")
    set_sites(folder, [*network.sites, *sorted(set(admitted) - set(network.sites))])
    write_text(folder / ".gitignore", "*\n")  # the kits hold keys
    return fresh


def _not_made(folder: Path, said: str) -> JobError:
    """Return why NVFlare has made no certificates: a fault of the disk by its cause, as its own text is a traceback."""
    if found := ERRNO.search(said):
        number = int(found[1])
        try:
            with writing(folder):
                raise OSError(number, os.strerror(number))
        except StorageError as fault:
            return fault
    return SettingError(f"the certificates could not be made: {' '.join(said.split())[-500:]}")


def _new_kit(network: Network, source: Path, kit: Path) -> Path:
    """Make a kit as a whole; only its owner may read it."""
    fresh = kit.with_name(f".{kit.name}.new")
    with writing(kit):
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        shutil.copytree(source, fresh, dirs_exist_ok=True)
        fresh.chmod(0o700)
        _describe(network, fresh, kit.name)
        os.replace(fresh, kit)
    return kit


def kit_role(kit: Path) -> dict[str, Any]:
    """Return what a kit says of itself: network, name, server and port.

    Raises:
        SettingError: if the folder is no kit.
    """
    about = read_kit(kit) if (kit / FILE).exists() else {}
    if "kit" not in about:  # the network's own folder has none
        raise SettingError(f"{kit} is no kit; fedtailor net init makes one for the server, the administrator and each site")
    return about


def read_folder(network: Path) -> dict[str, Any]:
    """Return what a network's folder says of itself: network, server, port, sites and user.

    Raises:
        SettingError: if it is none.
    """
    about = read_kit(network) if (network / FILE).exists() else {}
    if "kit" in about or not isinstance(about.get("sites"), list):
        raise SettingError(f"{network} is no folder of a network; fedtailor net init NETWORK.yaml makes one")
    return about


def set_sites(network: Path, sites: list[str]) -> None:
    """Write down which sites a network has, in its folder and in the kits of its server and administrator."""
    about = {**read_folder(network), "sites": sites}
    write_text(network / FILE, json.dumps(about) + "\n")
    for kit in (server_kit(network), network / ADMIN):
        write_private(kit / FILE, json.dumps({**about, "kit": kit.name}) + "\n")


def server_kit(network: Path) -> Path:
    """Return the server's kit in a network's folder, whatever it was called when it was made."""
    old = network / OLD_SERVER
    return old if (old / FILE).is_file() else network / SERVER


def read_kit(folder: Path) -> dict[str, Any]:
    """Return what is written of a network or kit, by the names of today.

    Raises:
        SettingError: if the file is missing, or not as fedtailor wrote it.
    """
    file = folder / FILE
    raw = read_json(read_text(file, "the file of a kit"), str(file))
    found = with_new_names("network", raw) if isinstance(raw, Mapping) else {}
    wanted = {"network": str, "server": str, "port": int} | {name: str for name in ("kit", "user") if name in found}
    if wrong := next((name for name, kind in wanted.items() if not isinstance(found.get(name), kind)), None):
        raise SettingError(
            f"{file} is damaged: {wrong} is missing or no {wanted[wrong].__name__}; take the folder again from where it was made"
        )
    return {**found, "kit": SERVER} if found.get("kit") == OLD_SERVER else found


def admin_kit(network: Path) -> Path:
    """Return the administrator's kit: the folder itself, or admin/ in a network's folder.

    Raises:
        SettingError: if it is neither.
    """
    for folder in (network, network / ADMIN):
        if (folder / FILE).is_file() and (folder / "startup" / "fed_admin.json").is_file():
            return folder.resolve()
    raise SettingError(
        f"{network} is no folder of a network and no administrator's kit; fedtailor net init NETWORK.yaml makes one, fedtailor net try one to learn with"
    )


def last_reported(kit: Path) -> dict[str, dict[str, Any]]:
    """Return what each site reported of itself in the last run that this administrator's kit submitted; empty before the first.

    Raises:
        SettingError: if the file is damaged.
    """
    file = kit / LAST_RUN
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["sites"] if file.is_file() else {}
        return {str(site): dict(info) for site, info in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise SettingError(
            f"{file} cannot be read ({type(fault).__name__}: {fault}); delete it: the next run writes it again"
        ) from None


def _project(network: Network) -> dict[str, Any]:
    """Return NVFlare's description of the network."""
    place = "nvflare.lighter.impl"
    return {
        "api_version": 3,
        "name": network.name,
        "description": "made by fedtailor",
        "participants": [
            {"name": SERVER, "type": "server", "org": ORG, "fed_learn_port": network.port, "default_host": network.host},
            *({"name": site, "type": "client", "org": f"org_{site.replace('-', '_')}"} for site in network.sites),
            {"name": network.user, "type": "admin", "org": ORG, "role": "project_admin"},
        ],
        "builders": [
            {"path": f"{place}.workspace.WorkspaceBuilder", "args": {"template_file": ["master_template.yml"]}},
            {"path": f"{place}.static_file.StaticFileBuilder", "args": {"config_folder": "config", "scheme": "tcp"}},
            {"path": f"{place}.cert.CertBuilder"},
            {"path": f"{place}.signature.SignatureBuilder"},
        ],
    }


def _description(network: Network) -> dict[str, Any]:
    return {
        "network": network.name,
        "server": network.host,
        "port": network.port,
        "sites": list(network.sites),
        "user": network.user,
    }


def _describe(network: Network, kit: Path, name: str) -> None:
    about = _description(network)
    if name not in (SERVER, OLD_SERVER, ADMIN):
        del about["sites"], about["user"]
    write_private(kit / FILE, json.dumps({**about, "kit": name}) + "\n")


def _remove_unfinished(folder: Path) -> None:
    """Remove what an earlier call left that did not come to its end: its keys were never given to anybody."""
    if (folder / FILE).exists() or not (folder / AUTHORITY).is_dir():
        return
    found = list(folder.iterdir())
    if all(path.name == AUTHORITY or path.name.endswith(".new") or (path / FILE).is_file() for path in found):
        with writing(folder):
            for path in found:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _check_folder(network: Network, folder: Path) -> None:
    """Raise SettingError unless `folder` is new, empty, or of this very network."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / FILE).exists():
        raise SettingError(f"{folder} is there and is no folder of a network; name another with --out")
    about = read_kit(folder)
    if (about["network"], about["server"], about["port"]) != (network.name, network.host, network.port):
        raise SettingError(
            f"{folder} is of network {about['network']} with its server at {about['server']}:{about['port']}, asked for was {network.name} at "
            f"{network.host}:{network.port}; certificates name the server, so take a new folder with --out"
        )
