"""What is installed at both ends, compared before round 1."""

import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

MUST_AGREE = ("fedtailor",)  # packages of one version at both ends
SHOULD_AGREE = ("torch", "transformers", "peft", "python")  # else figures agree, bits may not


def versions() -> dict[str, str]:
    """Return what is installed here of what bits depend on."""
    found = {"python": sys.version.split()[0]}
    for name in ("fedtailor", "torch", "transformers", "peft", "safetensors", "nvflare"):
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            found[name] = "none"
    return found


def version_refusals(here: Mapping[str, str], server: Mapping[str, str]) -> list[str]:
    """Return a sentence for each package that must agree and does not."""
    return [
        f"{name} is {here.get(name)} at this site and {server.get(name)} at the server; install one version at both"
        for name in MUST_AGREE
        if here.get(name) != server.get(name)
    ]


def version_warnings(site: str, there: Mapping[str, str], server: Mapping[str, str]) -> list[str]:
    """Return a sentence for each package that should agree and does not."""
    return [
        f"{name} is {there.get(name)} at {site} and {server.get(name)} at the server: the run continues, but not to the bits of a local one"
        for name in SHOULD_AGREE
        if there.get(name) != server.get(name)
    ]
