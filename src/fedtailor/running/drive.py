"""Carries a job out: drives the rounds, evaluates, keeps the run folder, and can go on after a stop."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..assembly import Parts, assemble
from ..diverged import advice, wording
from ..errors import NotFinite, RunError, TooFewClients
from ..job import Job
from ..metrics import COUNTS
from ..protocols import PromptingRun, alone
from ..records import Round
from ..tensors import check_finite
from ..tuning import begins_elsewhere, written
from .clock import Clock
from .engine import Connect, local_federation, protected, ranked
from .environment import describe_environment
from .folder import RunFolder, choose_folder, file_text
from .gain import fill_gain, wanted_in
from .lock import FolderLock
from .measure import Evaluator, Moment, Notify
from .own_models import align_last
from .personal import personalize
from .progress import Progress
from .resume import check_left, check_run_folder, check_same_job, check_same_parts, check_schedule, recorded_clock
from .summary import kept_weights, not_fallen, nothing_better, summarize

if TYPE_CHECKING:
    import pandas as pd

Watcher = Callable[[str, Mapping[str, object]], None]
HUB_WAIT_S = 20.0  # that an earlier process of the same run may take to end
UNRECORDED = ("step", "evaluating", "client")  # events that are shown, but too many to keep


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run has made."""

    folder: Path
    summary: dict[str, Any]

    @property
    def history(self) -> "pd.DataFrame":
        """A row a round, as in rounds.parquet."""
        import pandas as pd

        return pd.read_parquet(self.folder / "rounds.parquet")

    def model(self) -> Any:
        """Return the customized model in float32, ready for a forward pass or `generate`."""
        from ..export import load_customized

        return load_customized(self.folder)


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
    job, environment = parts.job, describe_environment(parts)
    environment["baseline"] = baseline
    warnings = [*warnings, *check_same_parts(environment, path)]
    folder = RunFolder(path)
    notify = _notifier(folder, watcher)
    progress = folder.load(notify)
    resumed = progress is not None
    warnings += _check_progress(parts, path, progress)
    with folder.writing():
        (path / "summary.json").unlink(missing_ok=True)  # it is of a run that had ended
    _write_settings(parts, folder, environment)
    federation = ranked(
        protected(connect(parts, folder, notify), parts, folder), parts, progress.rows["evaluations"] if progress else ()
    )
    evaluator = Evaluator(parts=parts, federation=federation, folder=folder, notify=notify)
    notify("resume" if resumed else "start", folder=str(path), **_plan(parts, progress))
    for text in warnings:
        notify("warning", text=text)
    fresh, progress = progress is None, progress or Progress(state=parts.protocol.start(parts.worker))
    progress.alone = bool(baseline)
    clock = Clock(progress)
    if fresh:
        _measure_start(parts, evaluator, progress, clock)
    for state in parts.states.values():
        state.roll_back(progress.state.version)
    planned = progress.figures["planned_rounds"]
    wanted = wanted_in(parts, progress)
    rounds = parts.protocol.serve(federation, progress.state, parts.sampler, rounds=planned, worker=parts.worker, wanted=wanted)
    while (stopped_by := _stopped(parts, progress)) is None:
        round = _next_round(rounds, notify)
        if round is None:
            stopped_by = "search"
            break
        _check_state(round, job, notify)
        _absorb(progress, round, parts)
        for client, failure in round.failures:
            notify("failure", client=client, round=round.index, text=wording(failure.kind, failure.mark))
        clock.lap(progress, "server")
        if parts.protocol.trains and (round.index % job.evaluation.every == 0 or _stopped(parts, progress)):
            _evaluate_round(evaluator, progress, job)
        fill_gain(parts, progress, round.index)
        clock.lap(progress, "evaluate")
        notify("round", rounds=planned_rounds(parts), **progress.rows["rounds"][-1])
        clock.save(progress, folder, parts)
    rounds.close()
    summary = _finish(parts, evaluator, progress, clock, stopped_by=stopped_by, baseline=baseline)
    if summary["better_than_start"] is False:
        notify("warning", text=nothing_better(summary))
    notify("done", folder=str(path), summary=summary)
    return Result(folder=path, summary=summary)


def _absorb(progress: Progress, round: Round, parts: Parts) -> None:
    """Add what one round made, cost, and spent of a privacy budget."""
    progress.absorb(round, parts.sizes_of, full=written(parts.job.tuning).every_weight)
    if parts.budget is not None:
        progress.rows["rounds"][-1]["epsilon"] = parts.budget.epsilon()


def _measure_start(parts: Parts, evaluator: Evaluator, progress: Progress, clock: Clock) -> None:
    """Measure what round 1 begins with, and save it."""
    progress.figures["planned_rounds"] = parts.job.stop.rounds
    if alone.KIND in parts.manifest.down:
        progress.figures["start_sha256"] = evaluator.folder.write_start(progress.state.shared)
        clock.lap(progress, "save")
    moment = evaluator.measure(progress, progress.state.shared, round=0, name="before", generate=True)
    progress.figures["before"] = moment.to_dict()
    if parts.protocol.trains and not begins_elsewhere(parts.worker.model):  # else it is not what training begins with
        progress.judge(moment.validation_loss, 0)
    clock.lap(progress, "evaluate")
    clock.save(progress, evaluator.folder, parts)


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


def _evaluate_round(evaluator: Evaluator, progress: Progress, job: Job) -> None:
    """Evaluate the shared weights of the last round, and let their validation loss judge them."""
    index = progress.state.version
    generate = job.evaluation.generate_at == "always"
    moment = evaluator.measure(progress, progress.state.shared, round=index, name=f"round-{index}", generate=generate, own=True)
    progress.judge(moment.validation_loss, index)
    progress.forget_counts()
    row = progress.rows["rounds"][-1]
    row |= {f"test_{name}": value for name, value in moment.test.items() if name not in COUNTS}
    if moment.validation_loss is not None:
        row["validation_loss"] = moment.validation_loss
    if index == job.evaluation.every and progress.figures["best_round"] == 0:
        evaluator.notify("warning", text=not_fallen(progress, job.protocol.local.peak_learning_rate))


def _stopped(parts: Parts, progress: Progress) -> str | None:
    """Return why the run is over, or None. It follows from the progress, `stop` and the privacy budget: a resumed run may be given more."""
    job = parts.job
    if job.stop.patience is not None and progress.figures["without_gain"] >= job.stop.patience:
        return "patience"
    if progress.state.version >= job.stop.rounds:
        return "rounds"
    return "privacy budget" if parts.budget is not None and not parts.budget.affords() else None


def _finish(
    parts: Parts,
    evaluator: Evaluator,
    progress: Progress,
    clock: Clock,
    *,
    stopped_by: str,
    baseline: str,
) -> dict[str, Any]:
    """Evaluate the kept weights, let clients make them their own, write the result and the summary."""
    folder = evaluator.folder
    shared = kept_weights(parts, progress)
    index = progress.state.version if shared is progress.state.shared else progress.figures["best_round"]
    after: Moment = evaluator.measure(progress, shared, round=index, name="after", generate=True)
    clock.lap(progress, "evaluate")
    own = personalize(parts, evaluator.federation, progress, shared, after, round=index, notify=evaluator.notify, folder=folder)
    aligned = align_last(parts, evaluator.federation, progress, round=index, notify=evaluator.notify)
    clock.lap(progress, "server")
    parts.worker.load(shared)
    folder.write_model(written(parts.job.tuning).folder, partial(parts.worker.tuning.save, parts.worker.model))
    for name, rows in progress.rows.items():
        folder.write_rows(name, rows)
    clock.lap(progress, "save")
    summary = summarize(parts, progress, after, stopped_by=stopped_by, baseline=baseline, personal=own, distillation=aligned)
    folder.seal(["partition.parquet", *(f"{name}.parquet" for name in progress.rows), written(parts.job.tuning).folder])
    folder.write_text("summary.json", file_text(summary))
    folder.seal(["summary.json"])
    return summary


def _check_progress(parts: Parts, path: Path, progress: Progress | None) -> list[str]:
    """Return notes on a run that begins here or is resumed.

    Raises:
        ResumeError: if what clients kept is lost or damaged, all further rounds would train at a learning rate of 0, or there are none.
    """
    job, local = parts.job, parts.job.protocol.local
    if progress is None:
        return check_schedule(local, done=0, planned=job.stop.rounds, rounds=job.stop.rounds, resumed=False)
    done = progress.state.version
    for client, version in progress.figures.get("client_states", {}).items():
        if client in parts.states:
            parts.states[client].check(version)
    stopped_by = _stopped(parts, progress) or ("search" if done >= planned_rounds(parts) else None)
    return [
        *check_left(job, path, progress, stopped_by),
        *check_schedule(local, done=done, planned=progress.figures["planned_rounds"], rounds=job.stop.rounds, resumed=True),
    ]


def _write_settings(parts: Parts, folder: RunFolder, environment: Mapping[str, Any]) -> None:
    """Write what the run was asked for and made with, before anything else."""
    folder.write_settings(
        {
            "job.yaml": parts.job.to_yaml(),
            "environment.json": file_text({**environment, "sealed": True}),
            "manifest.json": file_text(parts.manifest.to_dict()),
        }
    )
    folder.write_table("partition", parts.divided.table)


def planned_rounds(parts: Parts) -> int:
    """Return how many rounds there are at most: those of the job, or fewer where a search ends by itself."""
    most = parts.job.stop.rounds
    return min(most, parts.protocol.rungs) if isinstance(parts.protocol, PromptingRun) else most


def _plan(parts: Parts, progress: Progress | None) -> dict[str, Any]:
    """Return what is ahead, for those who watch."""
    infos = parts.sampler.clients
    trains = parts.protocol.trains
    steps = [parts.protocol.local.steps_per_round(info.examples) if trains else 0 for info in infos]
    return {
        "name": parts.job.name,
        "from_round": 0 if progress is None else progress.state.version,
        "rounds": planned_rounds(parts),
        "clients": len(infos),
        "clients_per_round": parts.sampler.per_round,
        "steps_per_round": round(sum(steps) * parts.sampler.per_round / len(infos)),
        "precision": parts.precision,
        "device": str(parts.worker.device),
    }


def _notifier(folder: RunFolder, watcher: Watcher | None) -> Notify:
    def notify(kind: str, **facts: object) -> None:
        if kind not in UNRECORDED:
            folder.event(kind, **{name: value for name, value in facts.items() if name != "summary"})
        if watcher is not None:
            watcher(kind, facts)

    return notify
