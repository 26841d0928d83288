"""What fedtailor site join and check say of a kit: its private files, and how far this system holds the site's processes."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..network.kit.site_file import SiteFile


def file_lines(kit: Path, file: "SiteFile") -> list[str]:
    """Return what the private files say, and what of it cannot be.

    Raises:
        SettingError: if that of documents is wrong.
    """
    missing = [f"{path}: there is no such file or folder now; a job is refused until there is" for path in file.missing()]
    return [f"data {', '.join(file.data)}", *missing, *file.policy.lines(), *_documents_lines(kit, file)]


def _documents_lines(kit: Path, file: "SiteFile") -> list[str]:
    """Return how much of documents may leave, where questions about them are permitted."""
    if "retrieval" not in file.policy.protocols:
        return []
    from ..protocols.retrieval.ready import PRIVATE, SITE_ALLOWS
    from ..retrieval.allows import FILE, read_allows

    allows = read_allows(kit / PRIVATE, SITE_ALLOWS)
    return [f"of documents at most {allows.share} leave ({kit / PRIVATE / FILE})"]


def sandbox_lines(chosen: str, server: str) -> list[str]:
    """Return how far this system keeps the site's engine from its data, and the agent from the network.

    Raises:
        SettingError: if it cannot, and the site's owner has not said that it need not.
    """
    from ..network.sandbox.restrictions import check_sandbox, missing

    check_sandbox(chosen, server)
    if chosen == "none":
        return [
            "note: sandbox: none: whoever takes over the engine can read what this user can, and the agent could open connections"
        ]
    if lacking := missing():
        return [f"note: this system cannot hold the site's processes to all of their limits: {'; '.join(lacking)}"]
    return ["the engine has no access to data, and the agent none to networks: the kernel denies both"]
