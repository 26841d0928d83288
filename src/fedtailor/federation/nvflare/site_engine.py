"""A site's engine: `python -m fedtailor.federation.nvflare.site_engine MODULE ...` runs NVFlare's MODULE, with less than it would do.

NVFlare 2.9 carries out whatever the server's process asks for on the admin channel: files of the site are read, runs deleted, apps deployed, and
the site's own settings ask for authorization only if the sender says so. On two other channels it stops processes, points the site at another
server, loads it with traffic, and configures logs with classes that the sender names. Here the server can have a job checked for, deployed,
started and stopped, in the one form that our jobs have; everything else is refused and noted.
"""

import io
import json
import logging
import re
import runpy
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from nvflare.fuel.f3.cellnet import net_agent
from nvflare.fuel.f3.cellnet.core_cell import make_reply
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.utils.zip_utils import unzip_all_from_bytes
from nvflare.lighter.utils import verify_folder_signature_and_get_signers
from nvflare.private.admin_defs import error_reply
from nvflare.private.defs import ERROR_MSG_PREFIX, RequestHeader
from nvflare.private.fed import authenticator
from nvflare.private.fed.client import admin_commands, client_req_processors, fed_client_base, scheduler_cmds, training_cmds
from nvflare.private.fed.client.admin import RequestProcessor
from nvflare.utils import job_launcher_utils

from ...printable import printable
from .app import SITE_APP, SITE_FILE
from .passing import install_internal, install_outward

JOB = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SIGNED = (".__nvfl_sig.json", ".__nvfl_submitter.crt")  # in each folder of a job that its submitter signed
MOST_APP_BYTES = 2**20
ALLOWED = (
    scheduler_cmds.CheckResourceProcessor,
    scheduler_cmds.CancelResourceProcessor,
    scheduler_cmds.StartJobProcessor,
    training_cmds.DeployProcessor,
    training_cmds.AbortAppProcessor,
    training_cmds.NotifyJobStatusProcessor,
)
TO_JOBS = (
    admin_commands.CheckStatusCommand,
    admin_commands.AbortCommand,
    admin_commands.ByeCommand,
)  # from the engine to its job
SUBMITS = "project_admin"  # the role, in certificates of administrators
NOT_NEEDED = "no run needs it"
log = logging.getLogger("fedtailor.refused")


class Checked(RequestProcessor):  # type: ignore[misc]
    """Hands a permitted command on, if it is about one job and an app of our form."""

    def __init__(self, theirs: Any) -> None:
        """Take NVFlare's processor."""
        self._theirs = theirs

    def get_topics(self) -> list[str]:
        """Return what it answers."""
        return list(self._theirs.get_topics())

    def process(self, request: Any, engine: Any) -> Any:
        """Answer one command."""
        job = request.get_header(RequestHeader.JOB_ID)
        if not isinstance(job, str) or not JOB.fullmatch(job):
            return refuse(request.topic, f"{str(job)[:60]!r} is no number of a job")
        if isinstance(self._theirs, training_cmds.DeployProcessor):
            why = why_no_app(request.body) or why_not_submitted(
                request.body, Path(engine.args.workspace) / "startup" / "rootCA.pem"
            )
            if why:
                return refuse(request.topic, why)
        reply = self._theirs.process(request, engine)
        if reply is not None and str(reply.body).startswith(ERROR_MSG_PREFIX):  # such as a job that was not deployed
            note(request.topic, str(reply.body)[:200])
        return reply


class Refused(RequestProcessor):  # type: ignore[misc]
    """Stands for all commands that no run needs."""

    def __init__(self, topics: list[str]) -> None:
        """Take their names."""
        self._topics = topics

    def get_topics(self) -> list[str]:
        """Return what it refuses."""
        return self._topics

    def process(self, request: Any, engine: Any) -> Any:
        """Refuse one."""
        return refuse(request.topic, NOT_NEEDED)


class NoAgent:
    """Stands for NVFlare's agent of connections (`NetAgent`), which stops, redirects and loads a process for whoever asks: refuses all of it."""

    def __init__(self, cell: Any) -> None:
        """Take the process's end of connections."""
        cell.core_cell.register_request_cb(channel=net_agent._CHANNEL, topic="*", cb=self.refuse)

    def refuse(self, request: Any) -> Any:
        """Refuse one request."""
        note(request.get_header(MessageHeaderKey.TOPIC), NOT_NEEDED)
        return make_reply(ReturnCode.INVALID_REQUEST, "refused by this site")

    def close(self) -> None:
        """End nothing: NVFlare calls this when the process ends."""


def command_to_job(name: str) -> Any:
    """Return what carries out a command to the process of a job; None, noted, for one that no run needs."""
    found = next((one for one in admin_commands.AdminCommands.commands if one.get_command_name() == name), None)
    if isinstance(found, TO_JOBS):
        return found
    note(name, NOT_NEEDED)
    return None


def refuse(topic: str, why: str) -> Any:
    """Note what is refused, and return the reply."""
    note(topic, why)
    return error_reply("refused by this site")


def note(topic: Any, why: str) -> None:
    """Write a line on what is refused into the engine's log, which the launcher's command reads."""
    log.warning("fedtailor refused %s, which the server asked for: %s", printable(str(topic)[:60]), printable(why))


def why_no_app(data: Any) -> str:
    """Return why zipped bytes are not an app of the one form that our jobs have; "" if they are."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as app:
            files = {one.filename: one.file_size for one in app.infolist() if not one.is_dir()}
            strange = sorted(name for name in files if name != SITE_FILE and name.rpartition("/")[2] not in SIGNED)
            if strange:
                return f"the app holds {strange[0][:60]!r}"
            if sum(files.values()) > MOST_APP_BYTES:
                return "the app is too large"
            opening = json.loads(app.read(SITE_FILE))
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, RecursionError) as fault:
        return f"the app cannot be read ({type(fault).__name__})"
    return "" if opening == SITE_APP else "the app is not of the form that fedtailor's jobs have"


def why_not_submitted(data: bytes, authority: Path) -> str:
    """Return why an app was not signed by who may submit jobs, as `authority` vouches for; "" if it was. A server's own signature is none."""
    with tempfile.TemporaryDirectory() as folder:
        unzip_all_from_bytes(data, folder)
        signed, signers = verify_folder_signature_and_get_signers(folder, str(authority))
    if not signed:
        return "nobody of this network has signed the app"
    others = [name for name, _, role in signers if role != SUBMITS]
    return f"{others[0]!r} has signed the app, and submits no jobs" if others else ""


def processors() -> list[Any]:
    """Return what answers on the admin channel."""
    theirs = client_req_processors.ClientRequestProcessors.request_processors
    kept = [Checked(one) for one in theirs if isinstance(one, ALLOWED)]
    topics = sorted({topic for one in theirs if not isinstance(one, ALLOWED) for topic in one.get_topics()})
    return [*kept, Refused(topics)]


def main() -> None:
    """Run the module with the rest of the arguments."""
    sys.argv = sys.argv[1:]
    install_internal()
    install_outward()
    authenticator._get_client_ip = lambda: (
        "127.0.0.1"
    )  # theirs opens a socket for it, and the site's address is no business of the server's
    client_req_processors.ClientRequestProcessors.request_processors = processors()
    admin_commands.AdminCommands.get_command = staticmethod(command_to_job)
    fed_client_base.NetAgent = NoAgent
    job_launcher_utils.add_custom_dir_to_path = lambda folder, environment: (
        None
    )  # no folder that came with a job is looked into for modules
    job_launcher_utils.refresh_custom_dir_import_path = lambda folder: None
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
