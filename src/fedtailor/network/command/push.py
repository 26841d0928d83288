"""Submits at a server that a backbone be sent to sites."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import RunError, SettingError
from ...records import ClientId
from ...running import Watcher
from ..kit.kits import admin_kit, check_installed, kit_role
from ..meeting.meeting import backbone_name
from .submit import job_name
from .submitted import Submitted


def push_on(
    network: Path, backbone: str, *, sites: Sequence[ClientId] = (), watcher: Watcher | None = None
) -> list[dict[str, Any]]:
    """Have the server send a backbone to sites that lack it, and return a row for each; see `backbone_ledger.Row`.

    Args:
        network: the administrator's kit, or a network's folder that has it.
        backbone: as a job would name it; the server must have it.
        sites: who gets it; left out, all that are connected.
        watcher: called with every event.

    Raises:
        SettingError: if a site is not one of the network.
        BackboneError: if the server does not have the backbone.
        RunError: if nobody is there, or a site that was named is not.
    """
    check_installed()
    kit = admin_kit(network)
    role = kit_role(kit)
    unknown = sorted(set(sites) - set(role["sites"]))
    if unknown:
        raise SettingError(f"{unknown[0]!r} is no site of network {role['network']}; its sites are {', '.join(role['sites'])}")
    path = Path(backbone).expanduser()
    named = str(path.resolve()) if path.exists() else backbone
    from ...federation.nvflare.administration import ServerSession  # takes seconds: after all that can be said without it

    with ServerSession(kit, role["user"]) as server, tempfile.TemporaryDirectory(prefix="fedtailor-") as place:
        there = set(server.connected())
        away = sorted(set(sites) - there)
        if away:
            raise RunError(
                f"{', '.join(away)} is not connected, and nothing was sent; a site starts with fedtailor site join KIT, and fedtailor net "
                "status shows who is there"
            )
        submitted = Submitted(
            server,
            {"run": job_name("push-" + re.sub(r"[^\w.-]", "-", backbone_name(named))), "push": named},
            place=Path(place),
            without=sorted(there - set(sites)) if sites else [],
            watcher=watcher or (lambda kind, facts: None),
        )
        return list(submitted.to_the_end().content["sites"])
