"""All that touches NVFlare's own names (2.9): its collab interface at both ends of a job, and its administration.

That interface is one release old, so what changes in it is mended here and nowhere else.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nvflare.collab import CollabCallError, collab
from nvflare.collab.api.context import set_call_context  # not exported: each thread that calls must set it
from nvflare.fuel.flare_api.api_spec import (
    AuthenticationError,
    AuthorizationError,
    JobNotFound,
    JobNotRunning,
    NoConnection,
)
from nvflare.fuel.flare_api.flare_api import new_secure_session

from ...errors import FedtailorError
from ...records import ClientId
from .line import Places, SiteHalf, Told, Unanswered
from .packing import Packed

EVENTS = "fedtailor"  # the topic under which a running job tells what happens
COMMAND_S = 20.0


class NetError(FedtailorError):
    """The hub cannot be reached, or does not do what it was asked for."""


class CollabLine:
    """Calls to the sites of a job; made inside its main function, used from any thread."""

    def __init__(self) -> None:
        """Take the context of the thread that runs the job."""
        self._context = collab.context
        self._sites = {site.name: site for site in collab.clients}

    @property
    def sites(self) -> list[ClientId]:
        return sorted(self._sites)

    def answer(self, client: ClientId, ticket: str, packed: Packed, timeout_s: float) -> Mapping[str, Any]:
        """Return what a site's half says to a message; see `Line`."""
        told: Told = self._call(client, timeout_s, "answer", ticket=ticket, packed=packed)
        return told

    def open(self, client: ClientId, told: Told, timeout_s: float) -> Told:
        """Return what a site says to a job before it begins."""
        answer: Told = self._call(client, timeout_s, "open", told=told)
        return answer

    def alive(self, client: ClientId, timeout_s: float) -> bool:
        """Return whether a site's process answers."""
        return bool(self._call(client, timeout_s, "alive"))

    def forget(self, client: ClientId, ticket: str) -> None:
        """Tell a site that nobody waits for an answer any more."""
        set_call_context(self._context)
        self._sites[client](expect_result=False, optional=True).forget(ticket=ticket)

    def stopped(self) -> bool:
        """Return whether the job was aborted."""
        return bool(self._context.is_aborted())

    def _call(self, client: ClientId, timeout_s: float, method: str, **arguments: Any) -> Any:
        set_call_context(self._context)
        try:
            return getattr(self._sites[client](timeout=max(1.0, timeout_s)), method)(**arguments)
        except CollabCallError as fault:
            if fault.cause_type == "TimeoutError":
                raise TimeoutError(f"{client} did not answer in {timeout_s:.0f} s") from None
            raise Unanswered(f"the call to {client} failed ({fault.cause_type})") from None


class HubPart:
    """The server's end of a job; a subclass says what is done."""

    @collab.main  # type: ignore[untyped-decorator]
    def main(self) -> None:
        """Carry the job out; NVFlare calls this once all sites are there."""
        self.work(CollabLine(), _places())

    def work(self, line: CollabLine, places: Places) -> None:
        """Do the server's part."""
        raise NotImplementedError

    def tell(self, answer: Callable[[Any], Told]) -> None:
        """Let `answer` reply to those who watch the job."""
        engine = collab.fl_ctx.get_engine()
        engine.register_app_command(EVENTS, lambda topic, data, fl_ctx: answer(data))


class SitePart:
    """A site's end of a job; a subclass makes what answers. Only the server of the job may ask. What a method returns leaves the site.

    The engine looks at every attribute of this object before the job begins, so there is nothing here but these methods.
    """

    @collab.init  # type: ignore[untyped-decorator]
    def begin(self) -> None:
        """Take note of where the site's own files are."""
        self.half = self.make(collab.site_name, _places())

    @collab.final  # type: ignore[untyped-decorator]
    def end(self) -> None:
        """The job is over."""
        self.half.stop()

    @collab.publish  # type: ignore[untyped-decorator]
    def alive(self) -> bool:
        """Answer at once, whatever else is under way."""
        return True

    @collab.publish  # type: ignore[untyped-decorator]
    def open(self, told: Told) -> Told:
        """Answer what a job says of itself before it begins."""
        return self.half.open(told) if _by_server() else {"refused": "only the server may ask"}

    @collab.publish  # type: ignore[untyped-decorator]
    def answer(self, ticket: str, packed: Packed) -> Told:
        """Answer a message."""
        return self.half.answer(ticket, packed) if _by_server() else {"failure": ["refused", "NotTheServer"]}

    @collab.publish  # type: ignore[untyped-decorator]
    def forget(self, ticket: str) -> None:
        """Stop working on a message."""
        if _by_server():
            self.half.forget(ticket)

    def make(self, name: ClientId, places: Places) -> SiteHalf:
        """Return what answers for the site."""
        raise NotImplementedError


def _by_server() -> bool:
    return str(collab.caller) == "server"


def _places() -> Places:
    workspace, job = collab.workspace, collab.fl_ctx.get_job_id()
    return Places(
        kit=Path(workspace.get_root_dir()).resolve(),
        job=Path(workspace.get_run_dir(job)).resolve(),
        settings=Path(workspace.get_app_config_dir(job)).resolve(),
    )


class Hub:
    """The hub as its administrator reaches it; use it in a `with`."""

    def __init__(self, kit: Path, user: str, *, patience_s: float = 10.0) -> None:
        """Log in with the administrator's kit.

        Raises:
            NetError: if nobody answers, or the hub does not accept the kit.
        """
        self._kit, self._user = kit, user
        here = os.getcwd()  # a session makes its folders relative to the working directory
        try:
            self._session = new_secure_session(user, str(kit), timeout=patience_s, auto_login_max_tries=1)
            self._session.set_timeout(COMMAND_S)
        except AuthenticationError as fault:
            raise NetError(f"the hub does not accept the kit {kit}: {fault}; take the one that net init wrote") from None
        except (NoConnection, Exception) as fault:
            raise NetError(
                f"no hub answers ({type(fault).__name__}: {fault}); start it with fedtailor net serve, or look whether its port is open"
            ) from None
        finally:
            os.chdir(here)

    def __enter__(self) -> "Hub":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Log out."""
        try:
            self._session.close()
        except Exception:  # it is over anyway
            return

    def connected(self) -> dict[ClientId, float]:
        """Return when each connected site gave its last sign of life, in seconds since 1970."""
        info = self._session.get_system_info()
        return {client.name: float(client.last_connect_time) for client in info.client_info}

    def submit(self, folder: Path) -> str:
        """Hand a job folder in and return the engine's id of it."""
        return str(self._session.submit_job(str(folder)))

    def status(self, job: str) -> str:
        """Return what the engine says of a job: SUBMITTED, RUNNING, FINISHED:COMPLETED, ..."""
        return str(self._session.get_job_meta(job).get("status", ""))

    def ask(self, job: str, data: Mapping[str, Any]) -> Told | None:
        """Return what a running job answers; None if it does not run (yet, or any more) or says nothing."""
        try:
            answer = self._session.do_app_command(job, EVENTS, dict(data))
        except (JobNotRunning, JobNotFound):
            return None
        except AuthorizationError:
            raise NetError(
                "the hub does not let this kit watch jobs; its settings are those of another version: serve it anew"
            ) from None
        except NoConnection:
            raise NetError("the hub does not answer any more") from None
        except Exception:  # the job's process is starting or ending: there is no narrower sign of that
            return None
        return answer if isinstance(answer, dict) else None

    def abort(self, job: str) -> None:
        """Stop a job."""
        self._session.abort_job(job)

    def fetch(self, job: str, folder: Path) -> Path:
        """Return the folder below `folder` that holds what a finished job left at the hub."""
        return Path(str(self._session.download_job_result(job, str(folder))))
