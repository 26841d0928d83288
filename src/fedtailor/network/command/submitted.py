"""A job while it is at a server: submitted, watched, submitted again if the engine stopped it, fetched."""

import json
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import JobError, RunError
from ...federation.nvflare.line import NetError, ServerAway
from ...job import Job
from ...records import ClientId
from ...running import Watcher
from ...storage import copy_whole, write_text, writing
from ..meeting.meeting import REFUSED
from .job_folder import job_folder

if TYPE_CHECKING:
    from ...federation.nvflare.administration import ServerSession

POLL_S = 0.5  # between two looks at a job that runs
STATUS_S = 2.0  # between two looks at whether it does
SUBMISSIONS = 4  # most for one run: the first, and after each time that the engine stopped the job
UNBEGUN = 2  # most of them for a job of which nothing is heard
QUIET_S = 35.0  # sites give a sign of life each 10 s
SITES_S = 60.0  # that is waited for a site to come back before a further submission goes without it
BACK_S, ABSENCES = 300.0, 50  # that is waited for a server that is away, and how often it may be in one run
QUEUE_S = 30.0  # after which those who watch read that a job still waits for its turn

STARTS = ("start", "resume")  # events: from here on there is something to resume

T = TypeVar("T")


class Outcome:
    """What a job left at the server."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of the engine's result."""
        found = next(folder.rglob("outcome.json"), None)
        self.content: dict[str, Any] = {} if found is None else json.loads(found.read_text(encoding="utf-8"))
        self.ended, self.text = self.content.get("ended"), self.content.get("text", "")
        self.events: list[tuple[str, Mapping[str, Any]]] = [(kind, facts) for kind, facts in self.content.get("events", [])]
        self.folder = folder if found is None else found.parent / "run"


class Submitted:
    """A run, or the sending of a backbone, while it is at the server, over one submission or several."""

    def __init__(
        self,
        server: "ServerSession",
        settings: Mapping[str, Any],
        *,
        place: Path,
        without: Sequence[ClientId],
        watcher: Watcher,
        path: Path | None = None,
        expected: Sequence[ClientId] = (),
        begun: Callable[[str], None] = lambda job: None,
    ) -> None:
        """Take what is submitted, a folder to work in, who watches its events, the run folder if it leaves one, the sites that should be there,
        and what is called with the engine's id of each submission."""
        self._server, self._settings, self._place, self._path = server, settings, place, path
        self._without, self._expected, self._watcher, self._report_job = without, expected, watcher, begun
        self._everybody: list[ClientId] = []
        self._seen = 0  # events of this submission
        self._job, self._born = "", ""
        self._begun = False  # whether anything was heard of the job
        self._mark = secrets.token_hex(8)  # of this run's submissions: one that is repeated is no second job
        self._absences = 0  # of the server
        self._submit: Callable[[], str] | None = None  # submits what was submitted last

    def to_the_end(self) -> Outcome:
        """Submit until a submission ends by itself, at most SUBMISSIONS times.

        Once a run has begun, its folder holds what --resume needs, however this process ends.

        Raises:
            JobError: if the job is not usable, or a site refuses it.
            RunError: if the run cannot continue.
        """
        try:
            return self._submit_until_it_ends()
        except KeyboardInterrupt:
            self._stop()
            raise

    def _submit_until_it_ends(self) -> Outcome:
        for attempt in range(1, SUBMISSIONS + 1):
            outcome, why = self._once(attempt)
            if outcome.ended == "done":
                return outcome
            if outcome.ended in {REFUSED, "failed"}:
                self._keep_what_there_is(outcome)
                raise (JobError if outcome.ended == REFUSED else RunError)(outcome.text)
            if attempt == UNBEGUN and not self._begun:
                raise RunError(
                    f"the job did not begin: {why}; see log.txt in the server's kit, engine.log and site.log in those of sites"
                )
            if attempt < SUBMISSIONS:
                self._watcher("warning", {"text": f"{why}; it is submitted again and resumes from what is kept"})
        raise RunError(
            f"the job was submitted {SUBMISSIONS} times ({why}); what was reached is kept{self._where}: see log.txt in the server's kit, engine.log and site.log in those of sites"
        )

    @property
    def _where(self) -> str:
        return "" if self._path is None else f" at the server under runs/{self._settings['run']}"

    def _once(self, attempt: int) -> tuple[Outcome, str]:
        """Submit the job and watch it; return what it left, and why it ended if it did not by itself."""
        folder = self._place / f"{attempt}"
        sites = self._choose_sites(first=attempt == 1)
        submitted = job_folder(folder / "fedtailor", self._settings, sites)
        self._seen, self._born = 0, self._patiently(self._server.started)
        self._job, self._submit = "", partial(self._server.submit, submitted, f"{self._mark}-{attempt}")
        self._job = self._patiently(self._submit)
        self._report_job(self._job)
        status = self._watch_through_absences()
        outcome = Outcome(self._patiently(lambda: self._server.fetch(self._job, folder)))
        self._pass_on(outcome.events[self._seen :])
        return outcome, outcome.text or f"the engine stopped the job ({status})"

    def _stop(self) -> None:
        """Have the server stop the job, if it was submitted; also one of which the server's answer has not come yet."""
        try:
            if self._submit is not None:
                self._server.abort(self._job or self._submit())  # with the same mark it is the same job
        except NetError as fault:
            self._watcher(
                "warning", {"text": f"the server could not be asked to stop the job, which may continue there: {fault}"}
            )

    def _choose_sites(self, *, first: bool) -> list[ClientId]:
        """Return the sites that take part: those that are connected. Later submissions wait for a new sign of life of all of the first for a while."""
        until = time.monotonic() + (0 if first else SITES_S)
        before = {} if first else self._patiently(self._server.connected)
        while True:
            found = self._there(before)
            if first:
                self._everybody = found
                self._report_who_is_missing(found)
            if set(self._everybody) <= set(found) or time.monotonic() > until:
                break
            time.sleep(POLL_S)
        if not found:
            raise RunError(
                "no site is connected; each starts with fedtailor site join KIT; fedtailor net status shows who is there"
            )
        return found

    def _report_who_is_missing(self, found: Sequence[ClientId]) -> None:
        missing = sorted(set(self._expected) - set(found) - set(self._without))
        if missing and found:
            verb = "gives" if len(missing) == 1 else "give"
            self._watcher(
                "warning", {"text": f"{', '.join(missing)} {verb} no sign of life; the run begins with {', '.join(found)}"}
            )

    def _there(self, before: Mapping[ClientId, float]) -> list[ClientId]:
        """Return the connected sites: of those that died the server finds out late, but their last sign of life is old, or none came since `before`."""
        signs = self._patiently(self._server.connected)
        oldest = max(signs.values(), default=0.0) - QUIET_S
        return sorted(
            site for site, sign in signs.items() if sign > max(oldest, before.get(site, -math.inf)) and site not in self._without
        )

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Return what the server answers, also if it is away for a while."""
        while True:
            try:
                return ask()
            except ServerAway as fault:
                self._await_server(fault)

    def _await_server(self, fault: ServerAway) -> None:
        self._absences += 1
        if self._absences > ABSENCES:
            raise fault
        self._watcher("warning", {"text": f"{fault}; it is waited for"})
        self._server.come_back(BACK_S)

    def _watch_through_absences(self) -> str:
        """Watch the job, also over times in which the server is away; one of a server that was started again has died with it, whatever is listed."""
        while True:
            try:
                if self._server.started() != self._born:
                    self._server.abort(self._job)
                    return "the server was started again"
                return self._watch()
            except ServerAway as fault:
                self._await_server(fault)

    def _watch(self) -> str:
        """Pass on what happens until the job is over, and return how the engine says that it ended."""
        answered, asked_status, report_at = False, -math.inf, time.monotonic() + QUEUE_S
        while True:
            if time.monotonic() - asked_status > STATUS_S:
                asked_status, status = time.monotonic(), self._server.status(self._job)
                if status.startswith("FINISHED"):
                    return status
                if status == "SUBMITTED" and time.monotonic() > report_at:
                    report_at = math.inf
                    self._watcher(
                        "warning", {"text": "it is submitted and waits for its turn: a server carries out one job at a time"}
                    )
            answer = self._server.ask(self._job, {"after": self._seen}) if answered or status == "RUNNING" else None
            if answer is not None:
                answered = True
                fresh = answer.get("events", [])
                self._pass_on([(kind, facts) for kind, facts in fresh])
                self._seen += len(fresh)
            time.sleep(POLL_S if answer is not None else STATUS_S)

    def _pass_on(self, events: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Call the watcher; the run folder is here and not at the server."""
        self._begun = self._begun or bool(events)
        for kind, facts in events:
            if kind in STARTS:
                self._leave_a_trace()
            self._watcher(kind, {**facts, **({"folder": str(self._path)} if "folder" in facts and self._path else {})})

    def _leave_a_trace(self) -> None:
        """Write down what --resume needs to find the run at the server again; a folder that was resumed has it."""
        if self._path is None or (self._path / "network.json").is_file():
            return
        with writing(self._path):
            self._path.mkdir(parents=True, exist_ok=True)
        write_text(self._path / "job.yaml", Job.from_dict(self._settings["job"]).to_yaml())
        write_text(self._path / "network.json", json.dumps({"run": self._settings["run"]}))

    def _keep_what_there_is(self, outcome: Outcome) -> None:
        """Bring the state of a run that cannot continue."""
        if outcome.folder.is_dir() and self._path is not None:
            copy_whole(outcome.folder, self._path, last="summary.json")
