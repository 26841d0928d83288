"""Carries a job out: drives the rounds, keeps the run folder, and resumes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ..assembly import Parts, assemble
from ..job import Job
from ..job.changed import changed_settings
from ..tracking import Trackers, check_trackers
from .beginning import check_progress, measure_start, plan, write_settings
from .clock import Clock
from .engine import Connect, local_federation, protected, ranked
from .environment import describe_environment
from .finish import finish
from .folder import RunFolder, choose_folder
from .lock import FolderLock
from .measure import Evaluator, Notify
from .now import Now
from .planned import Planned
from .progress import Progress
from .result import Result
from .resume import check_left, check_run_folder, check_same_job, check_same_parts, recorded_clock
from .rounds import carry_out_rounds, why_over
from .summary import nothing_better

Watcher = Callable[[str, Mapping[str, object]], None]
SERVER_WAIT_S = 20.0  # that an earlier process of the same run may take to end
UNRECORDED = ("step", "evaluating", "client")  # events that are shown, but too many to keep


def run(
    job: Job,
    *,
    data: Any = None,
    out: Path | str | None = None,
    resume: Path | str | None = None,
    watcher: Watcher | None = None,
) -> Result:
    """Carry out a job and return what it made.

    Args:
        job: all settings; see `Job.load`.
        data: examples in memory that take the place of `data.train`: a list of mappings, a pandas table, a `datasets`
            data set, or a mapping with the keys train, validation and test of these.
        out: the run folder, absent or empty; runs/NAME-TIME if left out.
        resume: a run folder to resume from its last checkpoint; `resume.MAY_CHANGE` has what may differ from its job.
        watcher: called with every event (kind, facts) as it happens.

    Raises:
        JobError: if a setting, the data or the backbone is not usable; nothing has been written then.
        RunError: if the run cannot continue; its state is saved.
    """
    if resume is None:
        path = choose_folder(None if out is None else Path(out), job.name)
        return _run(job, data, path, watcher, [], lock=_fresh(path, job.name))
    path = Path(resume)
    check_run_folder(path)  # before a file is made there
    with FolderLock(path):
        return _run(job, data, path, watcher, check_same_job(job, path), lock=nullcontext())


@contextmanager
def _fresh(path: Path, name: str) -> Iterator[None]:
    """Hold a new folder, in which nobody else has begun a run since it was chosen."""
    with FolderLock(path):
        choose_folder(path, name)
        yield


def _run(
    job: Job,
    data: Any,
    path: Path,
    watcher: Watcher | None,
    warnings: list[str],
    *,
    lock: AbstractContextManager[object],
) -> Result:
    begun = any((path / "checkpoint").glob("[0-9]*"))
    check_trackers(job.report_to)
    doing = _doing(watcher)
    parts = assemble(
        job,
        given=data,
        clients_folder=path / "clients",
        begun=begun,
        clock=recorded_clock(path),
        warn=warnings.append,
        doing=doing,
    )
    doing("writing the settings, measuring the start")
    return carry_out(parts, path, watcher=watcher, warnings=warnings, lock=lock)


def _doing(watcher: Watcher | None) -> Callable[[str], None]:
    """Return what shows those who watch what is under way before the run has a folder."""
    return lambda what: None if watcher is None else watcher("loading", {"what": what})


def carry_out(
    parts: Parts,
    path: Path,
    *,
    watcher: Watcher | None = None,
    warnings: Sequence[str] = (),
    baseline: str = "",
    connect: Connect = local_federation,
    lock: AbstractContextManager[object] | None = None,
) -> Result:
    """Drive the rounds of assembled parts in the folder `path`, from its last checkpoint if it has one, to the end.

    Args:
        watcher: called with every event.
        warnings: of the assembly: they become events.
        baseline: its name, if it is none of the job's own runs.
        connect: gives the engine that carries messages to the clients.
        lock: keeps other processes out of the folder; one is made if it is left out.

    Raises:
        ResumeError: if another process works in the folder, or it is not as this run left it.
        StorageError: if the folder cannot be written.
    """
    with lock or FolderLock(path, wait_s=SERVER_WAIT_S):
        return _carry_out(parts, path, watcher=watcher, warnings=warnings, baseline=baseline, connect=connect)


def _carry_out(
    parts: Parts, path: Path, *, watcher: Watcher | None, warnings: Sequence[str], baseline: str, connect: Connect
) -> Result:
    environment = describe_environment(parts)
    environment |= {"baseline": baseline, "changed": changed_settings(parts.job)}
    warnings = [*warnings, *check_same_parts(environment, path)]
    folder = RunFolder(path)
    notify = _notifier(folder, watcher, Trackers(parts.job.report_to, parts.job.to_dict(), path))
    progress = folder.load(notify)
    resumed = progress is not None
    warnings += check_progress(parts, progress)
    if progress is not None:
        warnings += check_left(parts.job, path, progress, why_over(parts, progress))
    start = parts.protocol.start(parts.worker) if progress is None else progress.state  # what cannot start writes nothing
    with folder.writing():
        (path / "summary.json").unlink(missing_ok=True)  # it is of a run that had ended
    write_settings(parts, folder, environment)
    federation = ranked(
        protected(connect(parts, folder, notify), parts, folder), parts, progress.rows["evaluations"] if progress else ()
    )
    evaluator = Evaluator(parts=parts, federation=federation, folder=folder, notify=notify)
    notify("resume" if resumed else "start", folder=str(path), **plan(parts, progress))
    for text in warnings:
        notify("warning", text=text)
    fresh, progress = progress is None, progress or Progress(state=start)
    progress.alone = bool(baseline)
    clock = Clock(progress)
    planned = Planned(parts, folder, notify, alone=bool(baseline))
    if fresh:
        measure_start(parts, evaluator, progress, clock)
    parts.clients.roll_back(progress.state.version)
    if parts.auto_ranks is not None:
        parts.auto_ranks.learn(progress.rows["clients"])
    stopped_by = carry_out_rounds(parts, evaluator, progress, clock, planned)
    summary = finish(parts, evaluator, progress, clock, stopped_by=stopped_by, baseline=baseline, planned=planned)
    if summary["better_than_start"] is False:
        notify("warning", text=nothing_better(summary, trains=parts.protocol.trains))
    notify("done", folder=str(path), summary=summary)
    return Result(folder=path, summary=summary)


def _notifier(folder: RunFolder, watcher: Watcher | None, trackers: Trackers) -> Notify:
    now = Now(folder.path)

    def notify(kind: str, **facts: object) -> None:
        now.see(kind, facts)
        if kind not in UNRECORDED:
            folder.event(kind, **{name: value for name, value in facts.items() if name != "summary"})
        if watcher is not None:
            watcher(kind, facts)
        for text in trackers.see(kind, facts):
            notify("warning", text=text)

    return notify
