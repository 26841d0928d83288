"""Carries a job out: drives the rounds, evaluates, keeps the run folder, and can go on after a stop."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ..assembly import Parts, assemble
from ..diverged import advice, wording
from ..errors import NotFinite, RunError, TooFewClients
from ..job import Job
from ..metrics import COUNTS
from ..protocols.rounds.shares import who_counts_less
from ..records import Round
from ..tensors import check_finite
from ..tuning import written
from .beginning import check_progress, measure_start, plan, write_settings
from .clock import Clock
from .engine import Connect, local_federation, protected, ranked
from .environment import describe_environment
from .finish import finish
from .folder import RunFolder, choose_folder
from .gain import fill_gain, wanted_in
from .lock import FolderLock
from .measure import Evaluator, Notify
from .progress import Progress
from .result import Result
from .resume import check_left, check_run_folder, check_same_job, check_same_parts, recorded_clock
from .summary import not_fallen, nothing_better

Watcher = Callable[[str, Mapping[str, object]], None]
HUB_WAIT_S = 20.0  # that an earlier process of the same run may take to end
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
        watcher: told of every event (kind, facts) as it happens.

    Raises:
        JobError: if a setting, the data or the backbone is not usable; nothing has been written then.
        RunError: if the run cannot go on; its state is saved.
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
    """Return what tells those who watch what is under way before the run has a folder."""
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
        watcher: told of every event.
        warnings: of the assembly: they become events.
        baseline: its name, if it is none of the job's own runs.
        connect: gives the engine that carries messages to the clients.
        lock: keeps other processes out of the folder; one is made if it is left out.

    Raises:
        ResumeError: if another process works in the folder, or it is not as this run left it.
        StorageError: if the folder cannot be written.
    """
    with lock or FolderLock(path, wait_s=HUB_WAIT_S):
        return _carry_out(parts, path, watcher=watcher, warnings=warnings, baseline=baseline, connect=connect)


def _carry_out(
    parts: Parts, path: Path, *, watcher: Watcher | None, warnings: Sequence[str], baseline: str, connect: Connect
) -> Result:
    environment = describe_environment(parts)
    environment["baseline"] = baseline
    warnings = [*warnings, *check_same_parts(environment, path)]
    folder = RunFolder(path)
    notify = _notifier(folder, watcher)
    progress = folder.load(notify)
    resumed = progress is not None
    warnings += check_progress(parts, progress)
    if progress is not None:
        warnings += check_left(parts.job, path, progress, _stopped(parts, progress) or _search_ended(parts, progress))
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
    fresh, progress = progress is None, progress or Progress(state=parts.protocol.start(parts.worker))
    progress.alone = bool(baseline)
    clock = Clock(progress)
    if fresh:
        measure_start(parts, evaluator, progress, clock)
    for state in parts.states.values():
        state.roll_back(progress.state.version)
    stopped_by = _rounds(parts, evaluator, progress, clock)
    summary = finish(parts, evaluator, progress, clock, stopped_by=stopped_by, baseline=baseline)
    if summary["better_than_start"] is False:
        notify("warning", text=nothing_better(summary, trains=parts.protocol.trains))
    notify("done", folder=str(path), summary=summary)
    return Result(folder=path, summary=summary)


def _rounds(parts: Parts, evaluator: Evaluator, progress: Progress, clock: Clock) -> str:
    """Carry out the rounds that are left, each evaluated and saved; return why there are no more."""
    job, notify = parts.job, evaluator.notify
    rounds = parts.protocol.serve(
        evaluator.federation,
        progress.state,
        parts.sampler,
        rounds=progress.figures["planned_rounds"],
        worker=parts.worker,
        wanted=wanted_in(parts, progress),
    )
    while (stopped_by := _stopped(parts, progress)) is None:
        round = _next_round(rounds, notify)
        if round is None:
            return "search"
        _check_state(round, job, notify)
        _absorb(progress, round, parts)
        for client, failure in round.failures:
            notify("failure", client=client, round=round.index, text=wording(failure.kind, failure.mark))
        if less := who_counts_less(round.clients):
            notify("counted-less", round=round.index, **less)
        clock.lap(progress, "server")
        if parts.protocol.validated and (round.index % job.evaluation.every == 0 or _stopped(parts, progress)):
            _evaluate_round(evaluator, progress, parts)
        fill_gain(parts, progress, round.index)
        clock.lap(progress, "evaluate")
        notify("round", rounds=parts.protocol.most_rounds(job.stop.rounds), **progress.rows["rounds"][-1])
        clock.save(progress, evaluator.folder, parts)
    rounds.close()
    return stopped_by


def _absorb(progress: Progress, round: Round, parts: Parts) -> None:
    """Add what one round made, cost, and spent of a privacy budget."""
    progress.absorb(round, parts.sizes_of, full=written(parts.job.tuning).every_weight)
    if parts.budget is not None:
        progress.rows["rounds"][-1]["epsilon"] = parts.budget.epsilon()


def _next_round(rounds: Generator[Round, None, None], notify: Notify) -> Round | None:
    """Return the next round; None if the protocol has come to its end by itself."""
    try:
        return next(rounds, None)
    except TooFewClients as stop:
        notify("stopped", text=str(stop))
        raise


def _check_state(round: Round, job: Job, notify: Notify) -> None:
    """Raise RunError if what the server made of the updates is not finite: the checkpoint before it is the last good one."""
    try:
        check_finite(round.state.shared, "the shared weights")
    except NotFinite as fault:
        tip = advice([NotFinite.__name__], rate=job.protocol.local.peak_learning_rate)
        text = f"round {round.index}: every update was finite, and what the server made of them is not ({fault}). The state is saved: {tip}"
        notify("stopped", text=text)
        raise RunError(text) from None


def _evaluate_round(evaluator: Evaluator, progress: Progress, parts: Parts) -> None:
    """Evaluate the shared weights of the last round, and let their validation loss judge them."""
    job, index = parts.job, progress.state.version
    generate = job.evaluation.generate_at == "always"
    moment = evaluator.measure(progress, progress.state.shared, round=index, name=f"round-{index}", generate=generate, own=True)
    progress.judge(moment.validation_loss, index)
    progress.forget_counts()
    row = progress.rows["rounds"][-1]
    row |= {f"test_{name}": value for name, value in moment.test.items() if name not in COUNTS}
    if moment.validation_loss is not None:
        row["validation_loss"] = moment.validation_loss
    if parts.protocol.trains and index == job.evaluation.every and progress.figures["best_round"] == 0:
        evaluator.notify("warning", text=not_fallen(progress, job.protocol.local.peak_learning_rate))


def _search_ended(parts: Parts, progress: Progress) -> str | None:
    """Return "search" if the protocol has come to its own end, which a run notices only when it asks for the next round."""
    return "search" if progress.state.version >= parts.protocol.most_rounds(parts.job.stop.rounds) else None


def _stopped(parts: Parts, progress: Progress) -> str | None:
    """Return why the run is over, or None. It follows from the progress, `stop` and the privacy budget: a resumed run may be given more."""
    job = parts.job
    if job.stop.patience is not None and progress.figures["without_gain"] >= job.stop.patience:
        return "patience"
    if progress.state.version >= job.stop.rounds:
        return "rounds"
    return "privacy budget" if parts.budget is not None and not parts.budget.affords() else None


def _notifier(folder: RunFolder, watcher: Watcher | None) -> Notify:
    def notify(kind: str, **facts: object) -> None:
        if kind not in UNRECORDED:
            folder.event(kind, **{name: value for name, value in facts.items() if name != "summary"})
        if watcher is not None:
            watcher(kind, facts)

    return notify
