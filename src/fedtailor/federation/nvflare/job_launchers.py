"""What starts the process of a job, at the server and at a site: as NVFlare does, but with our entry, so that nothing of it listens on loopback."""

import os
import shlex
import sys
from typing import Any

from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.job_launcher_spec import JobProcessArgs
from nvflare.app_common.job_launcher.client_process_launcher import ClientProcessJobLauncher
from nvflare.app_common.job_launcher.server_process_launcher import ServerProcessJobLauncher
from nvflare.utils.job_launcher_utils import get_client_job_args, get_server_job_args

AT_SERVER, AT_SITE = "fedtailor.federation.nvflare.listener", "fedtailor.federation.nvflare.site_engine"


class ServerJobs(ServerProcessJobLauncher):  # type: ignore[misc]
    """Starts the server's process of a job."""

    def get_command(self, job_meta: Any, fl_ctx: Any) -> str:
        """Return the command, quoted as for a shell."""
        return _command(fl_ctx, get_server_job_args(), [AT_SERVER, ""])


class SiteJobs(ClientProcessJobLauncher):  # type: ignore[misc]
    """Starts a site's process of a job."""

    def get_command(self, job_meta: Any, fl_ctx: Any) -> str:
        """Return the command, quoted as for a shell."""
        return _command(fl_ctx, get_client_job_args(), [AT_SITE])


def _command(fl_ctx: Any, names: list[str], entry: list[str]) -> str:
    given = fl_ctx.get_prop(FLContextKey.JOB_PROCESS_ARGS)
    watched = ["fedtailor.orphans", str(os.getpid())]  # a job does not outlive an engine that was killed
    words = [sys.executable, "-Pu", "-m", *watched, *entry, given[JobProcessArgs.EXE_MODULE][1]]
    for name in names:
        if name not in (JobProcessArgs.EXE_MODULE, JobProcessArgs.OPTIONS) and name in given:
            words += map(str, given[name])
    option, values = given[JobProcessArgs.OPTIONS]  # the last: a list of KEY=VALUE
    return shlex.join([*words, option, *str(values).split()])
