"""Hands a job in at a hub, watches it, and fetches the run folder."""

import json
import math
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import JobError, ResumeError, RunError
from ..federation.nvflare.line import HubAway
from ..job import Job
from ..records import ClientId
from ..running import Result, Watcher
from ..running.folder import choose_folder
from .job_folder import job_folder, settings_of
from .kits import admin_kit, check_installed, kit_role
from .meeting import check_for_network

if TYPE_CHECKING:
    from ..federation.nvflare.administration import Hub

POLL_S = 0.5  # between two looks at a job that runs
STATUS_S = 2.0  # between two looks at whether it does
SUBMISSIONS = 4  # most for one run: the first, and after each time that the engine stopped the job
UNBEGUN = 2  # most of them for a job of which nothing is heard
QUIET_S = 35.0  # sites give a sign of life each 10 s
SITES_S = 60.0  # that is waited for a site to come back before a further submission goes without it
BACK_S, ABSENCES = 300.0, 50  # that is waited for a hub that is away, and how often it may be in one run
T = TypeVar("T")
TOLD = "last-run.json"  # in the administrator's kit


def run_on(
    job: Job,
    network: Path,
    *,
    out: Path | None = None,
    resume: Path | None = None,
    without: Sequence[ClientId] = (),
    patience: Mapping[str, float] | None = None,
    watcher: Watcher | None = None,
) -> Result:
    """Carry a job out on a network and return what it made, as a local run does.

    Args:
        network: the administrator's kit, or a network's folder that has it.
        out: the run folder, absent or empty.
        resume: the folder of an earlier run on this network, to go on in.
        without: sites that are left out.
        patience: how long the hub waits for answers; see `federation.nvflare.engine.Patience`.
        watcher: told of every event.

    Raises:
        JobError: if the job is not usable, or a site refuses it; nothing was trained then.
        RunError: if the run cannot go on; its state is kept at the hub.
    """
    check_installed()
    from ..federation.nvflare.administration import Hub

    check_for_network(job)
    kit = admin_kit(network)
    path = choose_folder(out, job.name) if resume is None else resume
    name = _run_name(job) if resume is None else _earlier_run(resume)
    settings = {**settings_of(job), "run": name, "patience": dict(patience or {})}
    with Hub(kit, kit_role(kit)["user"]) as hub, tempfile.TemporaryDirectory(prefix="fedtailor-") as place:
        outcome = _Handed(
            hub, settings, place=Path(place), without=without, watcher=watcher or (lambda kind, facts: None), path=path
        ).to_the_end()
        shutil.copytree(outcome.folder, path, dirs_exist_ok=True)
    shutil.copyfile(path / "network.json", kit / TOLD)
    return Result(folder=path, summary=json.loads((path / "summary.json").read_text(encoding="utf-8")))


def last_told(kit: Path) -> dict[ClientId, dict[str, Any]]:
    """Return what each site told of itself in the last run that this administrator's kit handed in; empty before the first."""
    file = kit / TOLD
    return dict(json.loads(file.read_text(encoding="utf-8"))["sites"]) if file.is_file() else {}


class _Outcome:
    """What a job left at the hub."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of the engine's result."""
        found = next(folder.rglob("outcome.json"), None)
        told: dict[str, Any] = {} if found is None else json.loads(found.read_text(encoding="utf-8"))
        self.ended, self.text = told.get("ended"), told.get("text", "")
        self.events: list[tuple[str, Mapping[str, Any]]] = [(kind, facts) for kind, facts in told.get("events", [])]
        self.folder = folder if found is None else found.parent / "run"


class _Handed:
    """A run while it is at the hub, over one submission or several."""

    def __init__(
        self, hub: "Hub", settings: Mapping[str, Any], *, place: Path, without: Sequence[ClientId], watcher: Watcher, path: Path
    ) -> None:
        self._hub, self._settings, self._place, self._path = hub, settings, place, path
        self._without, self._watcher = without, watcher
        self._everybody: list[ClientId] = []
        self._seen = 0  # events of this submission
        self._job, self._born = "", ""
        self._begun = False  # whether anything was heard of the job
        self._mark = secrets.token_hex(8)  # of this run's submissions: one that is repeated is no second job
        self._absences = 0  # of the hub

    def to_the_end(self) -> _Outcome:
        """Submit until a submission ends by itself, at most SUBMISSIONS times."""
        for attempt in range(1, SUBMISSIONS + 1):
            outcome, why = self._once(attempt)
            if outcome.ended == "done":
                return outcome
            if outcome.ended in {"mend", "failed"}:
                self._keep_what_there_is(outcome)
                raise (JobError if outcome.ended == "mend" else RunError)(outcome.text)
            if attempt == UNBEGUN and not self._begun:
                raise RunError(f"the job did not begin: {why}; see log.txt in the kits of hub and sites")
            if attempt < SUBMISSIONS:
                self._watcher("warning", {"text": f"{why}; it is handed in again and goes on after its last whole round"})
        raise RunError(
            f"the job was handed in {SUBMISSIONS} times ({why}); the state is kept at the hub under runs/{self._settings['run']}: see "
            "log.txt in the kits of hub and sites"
        )

    def _once(self, attempt: int) -> tuple[_Outcome, str]:
        """Submit the job and watch it; return what it left, and why it ended if it did not by itself."""
        folder = self._place / f"{attempt}"
        sites = self._choose_sites(first=attempt == 1)
        handed_in = job_folder(folder / "fedtailor", self._settings, sites)
        self._seen, self._born = 0, self._patiently(self._hub.started)
        self._job = self._patiently(lambda: self._hub.submit(handed_in, f"{self._mark}-{attempt}"))
        try:
            status = self._watch_through_absences()
        except KeyboardInterrupt:
            self._hub.abort(self._job)
            self._leave_a_trace()
            raise
        outcome = _Outcome(self._patiently(lambda: self._hub.fetch(self._job, folder)))
        self._pass_on(outcome.events[self._seen :])
        return outcome, outcome.text or f"the engine stopped the job ({status})"

    def _choose_sites(self, *, first: bool) -> list[ClientId]:
        """Return the sites that take part: those that are connected. Later submissions wait for a new sign of life of all of the first for a while."""
        until = time.monotonic() + (0 if first else SITES_S)
        before = {} if first else self._patiently(self._hub.connected)
        while True:
            found = self._there(before)
            if first:
                self._everybody = found
            if set(self._everybody) <= set(found) or time.monotonic() > until:
                break
            time.sleep(POLL_S)
        if not found:
            raise RunError(
                "no site is connected; each starts with fedtailor site join KIT; fedtailor net status shows who is there"
            )
        return found

    def _there(self, before: Mapping[ClientId, float]) -> list[ClientId]:
        """Return the connected sites: of those that died the hub finds out late, but their last sign of life is old, or none came since `before`."""
        signs = self._patiently(self._hub.connected)
        oldest = max(signs.values(), default=0.0) - QUIET_S
        return sorted(
            site for site, sign in signs.items() if sign > max(oldest, before.get(site, -math.inf)) and site not in self._without
        )

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Return what the hub answers, also if it is away for a while."""
        while True:
            try:
                return ask()
            except HubAway as fault:
                self._await_hub(fault)

    def _await_hub(self, fault: HubAway) -> None:
        self._absences += 1
        if self._absences > ABSENCES:
            raise fault
        self._watcher("warning", {"text": f"{fault}; it is waited for"})
        self._hub.come_back(BACK_S)

    def _watch_through_absences(self) -> str:
        """Watch the job, also over times in which the hub is away; one of a hub that was started anew has died with it, whatever is listed."""
        while True:
            try:
                if self._hub.started() != self._born:
                    self._hub.abort(self._job)
                    return "the hub was started anew"
                return self._watch()
            except HubAway as fault:
                self._await_hub(fault)

    def _watch(self) -> str:
        """Pass on what happens until the job is over, and return how the engine says that it ended."""
        answered, asked_status = False, -math.inf
        while True:
            if time.monotonic() - asked_status > STATUS_S:
                asked_status, status = time.monotonic(), self._hub.status(self._job)
                if status.startswith("FINISHED"):
                    return status
            answer = self._hub.ask(self._job, {"after": self._seen}) if answered or status == "RUNNING" else None
            if answer is not None:
                answered = True
                fresh = answer.get("events", [])
                self._pass_on([(kind, facts) for kind, facts in fresh])
                self._seen += len(fresh)
            time.sleep(POLL_S if answer is not None else STATUS_S)

    def _pass_on(self, events: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Tell the watcher; the run folder is here and not at the hub."""
        self._begun = self._begun or bool(events)
        for kind, facts in events:
            self._watcher(kind, {**facts, **({"folder": str(self._path)} if "folder" in facts else {})})

    def _leave_a_trace(self) -> None:
        """Write down what --resume needs to find the run at the hub again."""
        self._path.mkdir(parents=True, exist_ok=True)
        (self._path / "network.json").write_text(json.dumps({"run": self._settings["run"]}), encoding="utf-8")
        (self._path / "job.yaml").write_text(Job.from_dict(self._settings["job"]).to_yaml(), encoding="utf-8")

    def _keep_what_there_is(self, outcome: _Outcome) -> None:
        """Bring the state of a run that cannot go on."""
        if outcome.folder.is_dir():
            shutil.copytree(outcome.folder, self._path, dirs_exist_ok=True)


def _run_name(job: Job) -> str:
    return f"{job.name[:60]}-{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def _earlier_run(folder: Path) -> str:
    try:
        return str(json.loads((folder / "network.json").read_text(encoding="utf-8"))["run"])
    except (OSError, ValueError, KeyError):
        raise ResumeError(f"{folder} holds no run of a network; go on with it without --on, or start a new run") from None
