"""A finished run, opened on the machine that has its clients' data."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..assembly import Parts, assemble
from ..errors import DataError
from ..job import Job
from ..learning.client import Client
from ..learning.private.client import PrivateClient
from ..learning.worker import Worker
from ..run_files import check_sealed, how_to_resume
from ..running.resume import job_of_run, recorded_clock
from ..tensors import Tensors, clone
from ..tuning import written


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The parts of a run, with the weights before round 1 and those that it ended with."""

    folder: Path
    job: Job
    parts: Parts
    start: Tensors
    end: Tensors

    @property
    def worker(self) -> Worker:
        """The model with the weights that were put in place last."""
        return self.parts.worker

    @contextmanager
    def weights(self, tensors: Tensors) -> Iterator[None]:
        """Let these weights be in place inside the block, and those of the end behind it."""
        self.worker.load(tensors)
        try:
            yield
        finally:
            self.worker.load(self.end)


def open_for_audit(folder: Path) -> Opened:
    """Return a finished run with all its clients' examples.

    Raises:
        DataError: if it is no finished run, or its data are not here, as at the server of a network.
        ResumeError: if the folder is no run's, or was changed.
    """
    job = job_of_run(folder)
    result = folder / written(job.tuning).folder
    if not (folder / "summary.json").is_file() or not result.is_dir():
        raise DataError(
            f"{folder} is not the folder of a finished run, and an audit is of what a run has made; {how_to_resume(folder)}"
        )
    if (folder / "network.json").is_file():
        raise DataError(
            f"{folder} is of a run over a network: its clients' examples are at their sites, and an audit needs them; it can be done where the data are alone"
        )
    check_sealed(folder, ("summary.json", written(job.tuning).folder), tip=f"put back a copy, or {how_to_resume(folder)}")
    said: list[str] = []
    parts = assemble(job, clock=recorded_clock(folder), warn=said.append)
    if not parts.protocol.trains or parts.protocol.own_models:
        raise DataError(f"{folder} has no shared weights that were trained on clients' examples, which is what an audit attacks")
    start = clone(parts.worker.tensors())
    parts.worker.tuning.restore(parts.worker.model, result)
    return Opened(folder=folder, job=job, parts=parts, start=start, end=clone(parts.worker.tensors()))


def privacy_of_copy(client: Client, rows: int, rounds: int) -> PrivateClient | None:
    """Return the client's DP-SGD over the copy: as many steps, as much noise, rows that are units of their own; nothing is written down."""
    if client.private is None:
        return None
    known = client.private.schedule
    settings = replace(known.settings, noise_multiplier=known.noise_multiplier, epsilon=None)
    schedule = replace(known, settings=settings, units=rows, rounds=rounds)
    return PrivateClient(id=client.id, schedule=schedule, units=[[row] for row in range(rows)], file=None)
