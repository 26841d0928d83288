"""All of NVFlare's own names (2.9) at both ends of a job: its collab interface. Those of its administration are in `administration`.

That interface is one release old, so what changes in it is fixed here and nowhere else.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nvflare.apis.signal import Signal
from nvflare.collab import CollabCallError, collab
from nvflare.collab.api.context import set_call_context  # not exported: each thread that calls must set it

from ...records import ClientId
from .line import EVENTS, Packed, Places, Plain, SiteHalf, Unanswered


class CollabLine:
    """Calls to the sites of a job; made inside its main function, used from any thread."""

    def __init__(self) -> None:
        """Take the context of the thread that runs the job."""
        self._context = collab.context
        self._sites = {site.name: site for site in collab.clients}
        self._over = Signal(parent=self._context.abort_signal)
        for site in self._sites.values():
            site.backend.abort_signal = self._over  # not exported: what a pending call looks at ten times a second

    def end(self) -> None:
        """Give up all calls that are pending: the job ends after the last one, and one to a dead site would wait for its whole time."""
        self._over.trigger("the job is over")

    @property
    def sites(self) -> list[ClientId]:
        return sorted(self._sites)

    def answer(self, client: ClientId, ticket: str, packed: Packed, timeout_s: float) -> Mapping[str, Any]:
        """Return what a site's half says to a message; see `Line`."""
        answer: Plain = self._call(client, timeout_s, "answer", ticket=ticket, packed=packed)
        return answer

    def open(self, client: ClientId, opening: Plain, timeout_s: float) -> Plain:
        """Return what a site says to a job before it begins."""
        answer: Plain = self._call(client, timeout_s, "open", told=opening)  # a name on the wire
        return answer

    def alive(self, client: ClientId, timeout_s: float) -> bool:
        """Return whether a site's process answers."""
        return bool(self._call(client, timeout_s, "alive"))

    def forget(self, client: ClientId, ticket: str) -> None:
        """Let a site know that nobody waits for an answer any more."""
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


class ServerPart:
    """The server's end of a job; a subclass says what is done."""

    @collab.main  # type: ignore[untyped-decorator]
    def main(self) -> None:
        """Carry the job out; NVFlare calls this once all sites are there."""
        line = CollabLine()
        try:
            self.work(line, _places())
        finally:
            line.end()

    def work(self, line: CollabLine, places: Places) -> None:
        """Do the server's part."""
        raise NotImplementedError

    def register(self, answer: Callable[[Any], Plain]) -> None:
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
        return self.half.alive()

    @collab.publish  # type: ignore[untyped-decorator]
    def open(self, told: Plain) -> Plain:
        """Answer what a job says of itself before it begins."""
        return self.half.open(told) if _by_server() else {"refused": "only the server may ask"}

    @collab.publish  # type: ignore[untyped-decorator]
    def answer(self, ticket: str, packed: Packed) -> Plain:
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
