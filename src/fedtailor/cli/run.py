"""fedtailor run: carries a job out."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import complain, err, out, print_json, say

if TYPE_CHECKING:
    from ..job import Job
    from ..running import Result


class Baseline(StrEnum):
    """What a federated run is compared with, on the same job."""

    central = "central"
    central_steps = "central-steps"
    local = "local"


JobFile = Annotated[Path, typer.Argument(help="The job file; fedtailor init writes one.", metavar="JOB")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Settings that differ from the file: tuning.rank=16 stop.rounds=3", metavar="KEY=VALUE..."),
]


def run(  # noqa: PLR0917 - Typer passes all by name
    job: JobFile,
    settings: Overrides = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="The run folder; left out: runs/NAME-TIME.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with a run that was cut off; only stop may differ.", metavar="RUN")
    ] = None,
    baseline: Annotated[
        Baseline | None,
        typer.Option(help="Instead: all data in one place (central; central-steps: as many steps), or each client alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json alone.")] = False,
    on: Annotated[Path | None, typer.Option(help="Carry it out on a network: the folder of net init.", metavar="NET")] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="With --on: a site that is left out; may be given again.", metavar="SITE")
    ] = None,
) -> None:
    """Carry out a job: train, measure, and keep the result in a run folder."""
    from ..job import Job

    loaded = Job.load(job, settings or [])
    result = carry_out(
        loaded, out_folder=out_folder, resume=resume, baseline=baseline, quiet=as_json, network=on, without=without or []
    )
    if as_json:
        print_json(result.summary)
        return
    show_end(result.folder, samples=2)


def carry_out(
    job: "Job",
    *,
    out_folder: Path | None = None,
    resume: Path | None = None,
    baseline: Baseline | None = None,
    quiet: bool = False,
    network: Path | None = None,
    without: Sequence[str] = (),
) -> "Result":
    """Run the job with progress on stderr, or with warnings and failures alone if `quiet`; on a network if one is given."""
    from .progress import watch

    with watch(err(), quiet=quiet) as watcher:
        try:
            return _start(job, out_folder, resume, baseline, watcher, network, without)
        except KeyboardInterrupt:
            folder = watcher.folder or resume
            there = f" --on {network}" if network else ""
            tip = f"; go on with fedtailor run {folder}/job.yaml --resume {folder}{there}" if folder and baseline is None else ""
            complain(f"stopped{tip}")
            raise typer.Exit(1) from None


def show_end(folder: Path, samples: int) -> None:
    """Print the tables of a run that has just ended, and what can be done with it."""
    from ..report import read_run, show

    out().print(show(read_run(folder), samples=samples))
    if (folder / "adapter").is_dir():
        after = f'fedtailor try {folder} "…"   ·   fedtailor export {folder} --to merged FOLDER'
        say("  [dim]next[/]  {after}\n", after=after)


def _start(  # noqa: PLR0917 - one caller
    job: "Job",
    out_folder: Path | None,
    resume: Path | None,
    baseline: Baseline | None,
    watcher: Any,
    network: Path | None,
    without: Sequence[str],
) -> "Result":
    from ..errors import SettingError

    if resume is not None and out_folder is not None:
        raise SettingError(
            f"--resume {resume} goes on in that very folder, so nothing would be written to --out {out_folder}: "
            "leave one of --resume and --out out."
        )
    if network is not None:
        if baseline is not None:
            raise SettingError("--baseline compares clients on one machine; leave one of --baseline and --on out.")
        from ..network.submit import run_on

        return run_on(job, network, out=out_folder, resume=resume, without=without, watcher=watcher)
    if without:
        raise SettingError("--without leaves a site of a network out; name the network with --on, or leave it out.")
    if baseline is None:
        from ..running import run as run_job

        return run_job(job, out=out_folder, resume=resume, watcher=watcher)
    if resume is not None:
        raise SettingError(
            "--resume goes on with a federated run; a baseline starts anew: leave one of --resume and --baseline out."
        )
    from ..studies.baselines import run_baseline

    return run_baseline(job, kind=baseline.value, out=out_folder, watcher=watcher)
