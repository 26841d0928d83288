"""What a run does before its first round: it looks at what is there, writes what it was asked for, and measures the start."""

from collections.abc import Mapping
from typing import Any

from ..assembly import Parts
from ..protocols import alone
from ..tuning import begins_elsewhere
from .clock import Clock
from .folder import RunFolder
from .folder_files import file_text
from .measure import Evaluator
from .progress import Progress
from .resume import check_schedule
from .retained import measure_retained


def check_progress(parts: Parts, progress: Progress | None) -> list[str]:
    """Return notes on a run that begins here or is resumed.

    Raises:
        ResumeError: if what clients kept is lost or damaged, or all further rounds would train at a learning rate of 0.
    """
    job, done = parts.job, 0
    if progress is not None:
        done = progress.state.version
        for client, version in progress.figures.get("client_states", {}).items():
            if client in parts.clients:
                parts.clients.stores[client].check(version)
    planned = job.stop.rounds if progress is None else progress.figures["planned_rounds"]
    return check_schedule(job.protocol.local, done=done, planned=planned, rounds=job.stop.rounds, resumed=progress is not None)


def write_settings(parts: Parts, folder: RunFolder, environment: Mapping[str, Any]) -> None:
    """Write what the run was asked for and made with, before anything else."""
    folder.write_settings(
        {
            "job.yaml": parts.job.to_yaml(),
            "environment.json": file_text({**environment, "sealed": True}),
            "manifest.json": file_text(parts.manifest.to_dict()),
        }
    )
    folder.write_table("partition", parts.divided.table)


def plan(parts: Parts, progress: Progress | None) -> dict[str, Any]:
    """Return what is ahead, for those who watch."""
    infos = parts.sampler.clients
    trains = parts.protocol.trains
    steps = [parts.protocol.local.steps_per_round(info.examples) if trains else 0 for info in infos]
    return {
        "name": parts.job.name,
        "from_round": 0 if progress is None else progress.state.version,
        "rounds": parts.protocol.most_rounds(parts.job.stop.rounds),
        "clients": len(infos),
        "clients_per_round": parts.sampler.per_round,
        "steps_per_round": round(sum(steps) * parts.sampler.per_round / len(infos)),
        "precision": parts.precision,
        "device": str(parts.worker.device),
    }


def measure_start(parts: Parts, evaluator: Evaluator, progress: Progress, clock: Clock) -> None:
    """Measure what round 1 begins with, and save it."""
    progress.figures["planned_rounds"] = parts.job.stop.rounds
    if alone.KIND in parts.manifest.down:
        progress.figures["start_sha256"] = evaluator.folder.write_start(progress.state.shared)
        clock.lap(progress, "save")
    moment = evaluator.measure(progress, progress.state.shared, round=0, name="before", generate=True)
    progress.figures["before"] = moment.to_dict()
    measure_retained(parts, progress, progress.state.shared, evaluator.notify, round=0)
    if parts.protocol.validated and not begins_elsewhere(parts.worker.model):  # else it is not what training begins with
        progress.judge(moment.validation_loss, 0)
    clock.lap(progress, "evaluate")
    clock.save(progress, evaluator.folder, parts)
