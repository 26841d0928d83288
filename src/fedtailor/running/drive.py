"""Carries a job out: drives the rounds, evaluates, keeps the run folder, and can go on after a stop."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..assemble import Parts, assemble
from ..errors import TooFewClients
from ..job import Job
from ..protocols import alone
from ..records import Round
from ..tuning import begins_elsewhere
from .engine import Connect, local_federation
from .environment import describe_environment
from .folder import RunFolder, choose_folder
from .measure import COUNTS, Evaluator, Moment, Notify
from .own_models import align_last
from .personal import personalize
from .progress import Progress
from .resume import check_same_job, check_same_parts
from .summary import kept_weights, summarize

if TYPE_CHECKING:
    import pandas as pd

Watcher = Callable[[str, Mapping[str, object]], None]
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
        resume: a run folder to go on in from its last checkpoint; only `stop` may differ from its job.
        watcher: told of every event (kind, facts) as it happens.

    Raises:
        JobError: if a setting, the data or the backbone is not usable; nothing has been written then.
        RunError: if the run cannot go on; its state is saved.
    """
    path = choose_folder(None if out is None else Path(out), job.name) if resume is None else Path(resume)
    if resume is not None:
        check_same_job(job, path)
    warnings: list[str] = []
    begun = any((path / "checkpoint").glob("[0-9]*"))
    parts = assemble(job, given=data, clients_folder=path / "clients", begun=begun, warn=warnings.append)
    return carry_out(parts, path, watcher=watcher, warnings=warnings)


def carry_out(
    parts: Parts,
    path: Path,
    *,
    watcher: Watcher | None = None,
    warnings: Sequence[str] = (),
    baseline: str = "",
    connect: Connect = local_federation,
) -> Result:
    """Drive the rounds of assembled parts in the folder `path`, from its last checkpoint if it has one, to the end.

    Args:
        watcher: told of every event.
        warnings: of the assembly: they become events.
        baseline: its name, if it is none of the job's own runs.
        connect: gives the engine that carries messages to the clients.
    """
    job, environment = parts.job, describe_environment(parts)
    environment["baseline"] = baseline
    warnings = [*warnings, *check_same_parts(environment, path)]
    folder = RunFolder(path)
    (path / "summary.json").unlink(missing_ok=True)  # it tells of a run that had ended
    notify = _notifier(folder, watcher)
    _write_settings(parts, folder, environment)
    federation = connect(parts, folder, notify)
    evaluator = Evaluator(parts=parts, federation=federation, folder=folder, notify=notify)
    progress = folder.load(notify)
    resumed = progress is not None
    notify("resume" if resumed else "start", folder=str(path), **_plan(parts, progress))
    for text in warnings:
        notify("warning", text=text)
    clock = _Clock()
    if progress is None:
        progress = Progress(state=parts.protocol.start(parts.worker))
        progress.figures["planned_rounds"] = job.stop.rounds
        if alone.KIND in parts.manifest.down:
            progress.figures["start_sha256"] = folder.write_start(progress.state.shared)
        moment = evaluator.measure(progress, progress.state.shared, round=0, name="before", generate=True)
        progress.figures["before"] = moment.to_dict()
        if not begins_elsewhere(parts.worker.model):  # else those figures are not of the weights that training begins with
            progress.judge(moment.validation_loss, 0)
        clock.save(progress, folder)
    for state in parts.states.values():
        state.roll_back(progress.state.version)
    planned = progress.figures["planned_rounds"]
    rounds = parts.protocol.serve(federation, progress.state, parts.sampler, rounds=planned, worker=parts.worker)
    while (stopped_by := _stopped(job, progress)) is None:
        round = _next_round(rounds, notify)
        progress.absorb(round, parts.sizes_of, full=job.tuning.kind == "full")
        for client, failure in round.failures:
            notify("failure", client=client, round=round.index, text=f"{failure.kind}: {failure.mark}")
        if round.index % job.evaluation.every == 0 or _stopped(job, progress):
            _evaluate_round(evaluator, progress, job)
        notify("round", rounds=job.stop.rounds, **progress.rows["rounds"][-1])
        clock.save(progress, folder)
    rounds.close()
    summary = _finish(parts, evaluator, progress, clock, stopped_by=stopped_by, baseline=baseline)
    notify("done", folder=str(path), summary=summary)
    return Result(folder=path, summary=summary)


def _next_round(rounds: Generator[Round, None, None], notify: Notify) -> Round:
    try:
        return next(rounds)
    except TooFewClients as stop:
        notify("stopped", text=str(stop))
        raise


def _evaluate_round(evaluator: Evaluator, progress: Progress, job: Job) -> None:
    """Evaluate the shared weights of the last round, and let their validation loss judge them."""
    index = progress.state.version
    generate = job.evaluation.generate_at == "always"
    moment = evaluator.measure(progress, progress.state.shared, round=index, name=f"round-{index}", generate=generate, own=True)
    progress.judge(moment.validation_loss, index)
    row = progress.rows["rounds"][-1]
    row |= {f"test_{name}": value for name, value in moment.test.items() if name not in COUNTS}
    if moment.validation_loss is not None:
        row["validation_loss"] = moment.validation_loss


def _stopped(job: Job, progress: Progress) -> str | None:
    """Return why the run is over, or None. It follows from the progress and `stop`: a resumed run may be given more."""
    if job.stop.patience is not None and progress.figures["without_gain"] >= job.stop.patience:
        return "patience"
    return "rounds" if progress.state.version >= job.stop.rounds else None


def _finish(
    parts: Parts,
    evaluator: Evaluator,
    progress: Progress,
    clock: "_Clock",
    *,
    stopped_by: str,
    baseline: str,
) -> dict[str, Any]:
    """Evaluate the kept weights, let clients make them their own, write the result and the summary."""
    folder = evaluator.folder
    shared = kept_weights(parts, progress)
    index = progress.state.version if shared is progress.state.shared else progress.figures["best_round"]
    after: Moment = evaluator.measure(progress, shared, round=index, name="after", generate=True)
    own = personalize(parts, evaluator.federation, progress, shared, after, round=index, notify=evaluator.notify, folder=folder)
    aligned = align_last(parts, evaluator.federation, progress, round=index, notify=evaluator.notify)
    parts.worker.load(shared)
    full = parts.job.tuning.kind == "full"
    parts.worker.tuning.save(parts.worker.model, folder.path / ("model" if full else "adapter"))
    clock.tick(progress)
    for name, rows in progress.rows.items():
        folder.write_rows(name, rows)
    summary = summarize(parts, progress, after, stopped_by=stopped_by, baseline=baseline, personal=own, distillation=aligned)
    folder.write_json("summary.json", summary)
    return summary


def _write_settings(parts: Parts, folder: RunFolder, environment: Mapping[str, Any]) -> None:
    """Write what the run was asked for and made with, before anything else."""
    folder.write_text("job.yaml", parts.job.to_yaml())
    folder.write_json("environment.json", environment)
    folder.write_json("manifest.json", parts.manifest.to_dict())
    folder.write_table("partition", parts.divided.table)


def _plan(parts: Parts, progress: Progress | None) -> dict[str, Any]:
    """Return what is ahead, for those who watch."""
    infos = parts.sampler.clients
    steps = [parts.protocol.local.steps_per_round(info.examples) for info in infos]
    return {
        "name": parts.job.name,
        "from_round": 0 if progress is None else progress.state.version,
        "rounds": parts.job.stop.rounds,
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


class _Clock:
    """Counts the run's seconds across stops."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def tick(self, progress: Progress) -> None:
        now = time.perf_counter()
        progress.figures["seconds"]["total"] += now - self._last
        self._last = now

    def save(self, progress: Progress, folder: RunFolder) -> None:
        """Write a checkpoint, with the time so far in it."""
        self.tick(progress)
        folder.save(progress)
