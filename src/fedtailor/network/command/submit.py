"""Carries a job out on a network: submits it to the server and brings the run folder."""

import json
import secrets
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ...errors import ResumeError, SettingError
from ...job import Job
from ...records import ClientId
from ...running import Result, Watcher
from ...running.folder import choose_folder
from ...storage import copy_whole, write_text
from ..kit.kits import LAST_RUN, admin_kit, check_installed, kit_role
from ..meeting.meeting import check_for_network
from .job_folder import settings_of
from .submitted import Submitted


def run_on(
    job: Job,
    network: Path,
    *,
    out: Path | None = None,
    resume: Path | None = None,
    without: Sequence[ClientId] = (),
    patience: Mapping[str, float] | None = None,
    watcher: Watcher | None = None,
    begun: Callable[[str], None] = lambda job: None,
) -> Result:
    """Carry a job out on a network and return what it made, as a local run does.

    Args:
        network: the administrator's kit, or a network's folder that has it.
        out: the run folder, absent or empty.
        resume: the folder of an earlier run on this network, to resume in.
        without: sites that are left out.
        patience: how long the server waits for answers; see `federation.nvflare.engine.Patience`.
        watcher: called with every event.
        begun: called with the engine's id of each submission.

    Raises:
        JobError: if the job is not usable, `without` names nobody, or a site refuses it; nothing was trained then.
        RunError: if the run cannot continue; its state is kept at the server.
    """
    check_installed()
    from ...federation.nvflare.administration import ServerSession

    check_for_network(job)
    kit = admin_kit(network)
    path = choose_folder(out, job.name) if resume is None else resume
    name = job_name(job.name) if resume is None else _earlier_run(resume)
    settings = {**settings_of(job), "run": name, "patience": dict(patience or {})}
    role = kit_role(kit)
    with ServerSession(kit, role["user"]) as server, tempfile.TemporaryDirectory(prefix="fedtailor-") as place:
        if without:
            _check_known(without, {*role["sites"], *server.connected()}, role["network"])
        outcome = Submitted(
            server,
            settings,
            place=Path(place),
            without=without,
            watcher=watcher or (lambda kind, facts: None),
            path=path,
            expected=role["sites"],
            begun=begun,
        ).to_the_end()
        copy_whole(outcome.folder, path, last="summary.json")
    write_text(kit / LAST_RUN, (path / "network.json").read_text(encoding="utf-8"))
    return Result(folder=path, summary=json.loads((path / "summary.json").read_text(encoding="utf-8")))


def _check_known(without: Sequence[ClientId], sites: Collection[ClientId], network: str) -> None:
    """Raise SettingError for a site that cannot be left out as there is none of its name: a slip would let the one that was meant take part."""
    unknown = sorted(set(without) - set(sites))
    if unknown:
        raise SettingError(
            f"--without {unknown[0]}: network {network} has no such site; its sites are {', '.join(sorted(sites))}"
        )


def job_name(what: str) -> str:
    """Return a fresh name for something that is submitted; it names a folder at server and sites."""
    return f"{what[:60].lstrip('._-') or 'job'}-{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def _earlier_run(folder: Path) -> str:
    try:
        return str(json.loads((folder / "network.json").read_text(encoding="utf-8"))["run"])
    except (OSError, ValueError, KeyError):
        raise ResumeError(f"{folder} holds no run of a network; resume it without --on, or start a new run") from None
