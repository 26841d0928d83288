"""Runs a job of exchange_parts on a network of one site on this machine, and returns what its server found."""

import json
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from relay import through

from fedtailor.federation.nvflare.administration import ServerSession
from fedtailor.network.command import job_folder, processes
from fedtailor.network.command.world import World, free_port, running
from fedtailor.network.kit import engine_settings
from fedtailor.network.kit.kits import kit_role, make_kits
from fedtailor.network.kit.network_file import ADMIN, Network
from fedtailor.network.kit.site_file import SiteFile

SITE = "site-1"


def found_by(settings: dict[str, Any], link: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Carry the job with these settings out; return what it left.

    Args:
        link: of the relay between server and site; none if left out.
    """
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    engine_settings.OURS[engine_settings.SERVER] = "exchange_parts.EchoServer"
    processes.LAUNCHER = "echo_launcher"
    with tempfile.TemporaryDirectory(prefix="net-exchange-") as place:
        network = Network(name="exchange", port=free_port(), sites=(SITE,))
        make_kits(network, Path(place) / "net")
        SiteFile(data=(place,)).write(Path(place) / "net" / SITE)
        far = through(Path(place) / "net" / SITE, **link) if link else nullcontext()
        with far, running(World(folder=Path(place) / "net", network=network), lambda text: print(text, flush=True)):
            return _carry_out(settings, Path(place))


def _carry_out(settings: dict[str, Any], place: Path) -> dict[str, Any]:
    kit = place / "net" / ADMIN
    with ServerSession(kit, kit_role(kit)["user"]) as server:
        job = server.submit(job_folder.job_folder(place / "job", settings, [SITE]), "exchange")
        while not (status := server.status(job)).startswith("FINISHED"):
            time.sleep(2)
        left = next(server.fetch(job, place / "left").rglob("found.json"), None)
        if left is None:
            words = [path.read_text(errors="replace")[-3000:] for path in (place / "net").rglob("log.txt")]
            raise RuntimeError(f"the job left nothing ({status}): {words}")
        found: dict[str, Any] = json.loads(left.read_text())
        return found
