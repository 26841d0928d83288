"""All of NVFlare's own names (2.9) on the administrator's side: handing jobs in, asking after them, fetching what they left."""

import io
import logging
import os
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from nvflare.fuel.flare_api.api_spec import (
    AuthenticationError,
    AuthorizationError,
    InternalError,
    NoConnection,
    NoReply,
    SessionClosed,
)
from nvflare.fuel.flare_api.flare_api import new_secure_session

from ...records import ClientId
from .line import EVENTS, NetError, Plain, ServerAway

COMMAND_S, LOGIN_S = 20.0, 10.0  # that the server may take for an answer
BACK_S = 2.0  # between two tries to reach it again
# Else Python prints its warnings between our lines; our errors say what they say.
logging.getLogger("nvflare").addHandler(logging.NullHandler())


class ServerSession:
    """The server as its administrator reaches it; use it in a `with`."""

    def __init__(self, kit: Path, user: str) -> None:
        """Log in with the administrator's kit.

        Raises:
            NetError: if nobody answers, or the server does not accept the kit.
        """
        self._kit, self._user = kit, user
        self._session = self._log_in()

    def __enter__(self) -> "ServerSession":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Log out."""
        try:
            self._session.close()
        except Exception:  # it is over anyway
            return

    def come_back(self, patience_s: float) -> None:
        """Log in again, once the server answers.

        Raises:
            ServerAway: if it does not for so long.
        """
        self.close()
        until = time.monotonic() + patience_s
        while True:
            try:
                self._session = self._log_in()
                return
            except ServerAway:
                if time.monotonic() > until:
                    raise
                time.sleep(BACK_S)

    def connected(self) -> dict[ClientId, float]:
        """Return when each connected site gave its last sign of life, in seconds since 1970."""
        info = self._surely("get_system_info")
        return {client.name: float(client.last_connect_time) for client in info.client_info}

    def started(self) -> str:
        """Return when the server's process was started: another answer than before means that jobs of before are gone."""
        return str(self._surely("get_system_info").server_info.start_time)

    def submit(self, folder: Path, mark: str) -> str:
        """Submit a job folder and return the engine's id of it; submitted once more with the same mark, it is the same job."""
        return str(self._surely("submit_job", str(folder), mark))

    def status(self, job: str) -> str:
        """Return what the engine says of a job: SUBMITTED, RUNNING, FINISHED:COMPLETED, ..."""
        return str(self._surely("get_job_meta", job).get("status", ""))

    def ask(self, job: str, data: Mapping[str, Any]) -> Plain | None:
        """Return what a running job answers; None if it does not run (yet, or any more) or says nothing.

        Raises:
            NetError: if the server does not let this kit watch jobs.
        """
        try:
            answer = self._do("do_app_command", job, EVENTS, dict(data))
        except NetError:
            raise
        except AuthorizationError:
            raise NetError(
                "the server does not let this kit watch jobs; its settings are those of another version: serve it again"
            ) from None
        except Exception:  # the job's process is starting or ending: there is no narrower sign of that
            return None
        return answer if isinstance(answer, dict) else None

    def abort(self, job: str) -> None:
        """Stop a job, if it is there."""
        try:
            self._do("abort_job", job)
        except NetError:
            raise
        except Exception:  # it has ended by itself
            return

    def fetch(self, job: str, folder: Path) -> Path:
        """Return the folder below `folder` that holds what a finished job left at the server; `folder` itself if it left nothing."""
        try:
            return Path(str(self._do("download_job_result", job, str(folder))))
        except NetError:
            raise
        except Exception:  # a job that was stopped leaves no result
            return folder

    def _log_in(self) -> Any:
        here = os.getcwd()  # a session makes its folders relative to the working directory
        try:
            with redirect_stdout(io.StringIO()):  # it says that it connects
                session = new_secure_session(self._user, str(self._kit), timeout=LOGIN_S, auto_login_max_tries=1)
            session.set_timeout(COMMAND_S)
            return session
        except AuthenticationError as fault:
            raise NetError(f"the server does not accept the kit {self._kit}: {fault}; take the one that net init wrote") from None
        except Exception as fault:
            raise ServerAway(
                f"no server answers ({type(fault).__name__}: {fault}); start it with fedtailor net serve, or look whether its port is open"
            ) from None
        finally:
            os.chdir(here)

    def _surely(self, command: str, *arguments: Any) -> Any:
        """Return what a server that is well always answers."""
        try:
            return self._do(command, *arguments)
        except (InternalError, NoReply, RuntimeError) as fault:  # what it says while it starts or ends
            raise ServerAway(f"the server does not answer as it should ({type(fault).__name__}: {fault})") from None

    def _do(self, command: str, *arguments: Any) -> Any:
        try:
            return getattr(self._session, command)(*arguments)
        except (NoConnection, SessionClosed) as fault:
            raise ServerAway(f"the server does not answer any more ({type(fault).__name__})") from None
