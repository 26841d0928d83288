"""fedtailor run: carries a job out."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import complain, err, note, out, print_json, say
from .trimmed import collection_paused

if TYPE_CHECKING:
    from ..job import Job
    from ..running import Result


NOT_COMPARED = ("name", "base")  # follow from where a job file lies


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
    job: Annotated[
        Path | None,
        typer.Argument(help="The job file; fedtailor init writes one. With --resume it may be left out.", metavar="[JOB]"),
    ] = None,
    settings: Overrides = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="The run folder; left out: runs/NAME-TIME.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Continue an interrupted run, with its own settings; learning rate, rounds, threads or device may change: KEY=VALUE.",
            metavar="RUN",
        ),
    ] = None,
    baseline: Annotated[
        Baseline | None,
        typer.Option(help="Instead: all data in one place (central; central-steps: as many steps), or each client alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json alone.")] = False,
    on: Annotated[Path | None, typer.Option(help="Carry it out on a network: the folder of net init.", metavar="NET")] = None,
    live: Annotated[bool, typer.Option("--watch", help="Open a page in the browser that shows the run as it goes.")] = False,
    without: Annotated[
        list[str] | None, typer.Option(help="With --on: a site that is left out; may be given again.", metavar="SITE")
    ] = None,
) -> None:
    """Carry out a job: train, measure, and keep the result in a run folder."""
    from ..errors import SettingError
    from .waiting import waiting

    if resume is not None and out_folder is not None:
        raise SettingError(
            f"--resume {resume} continues in that very folder, so nothing would be written to --out {out_folder}: "
            "leave one of --resume and --out out."
        )
    with collection_paused(keep=True), waiting(err(), "reading the job"):
        loaded = _job(job, settings or [], resume)
    result = carry_out(
        loaded,
        out_folder=out_folder,
        resume=resume,
        baseline=baseline,
        quiet=as_json,
        network=on,
        without=without or [],
        live=live,
    )
    if as_json:
        print_json(result.summary)
        leave_if_nothing_is_better(result.summary)
        return
    show_end(result.folder, samples=2)


def _job(job: Path | None, settings: list[str], resume: Path | None) -> "Job":
    """Return the job of a file, or, of a run that is resumed, its own; where the file says something else, that is said."""
    from .. import running  # noqa: F401  while no garbage is looked for
    from ..errors import SettingError
    from ..job import Job

    if resume is None:
        if job is None:
            raise SettingError("there is no job to run: name its file, as in fedtailor run job.yaml; fedtailor init writes one")
        return Job.load(job, settings)
    from ..running.resume import job_of_run

    if job is not None and "=" in str(job) and not job.exists():
        job, settings = None, [str(job), *settings]
    own = job_of_run(resume, settings)
    if job is not None:
        differing = [key for key in Job.load(job, settings).differences(own) if key not in NOT_COMPARED]
        if differing:
            note(
                f"{job} differs from the run's own settings in {', '.join(differing)}: the run's own are used; to change one, write it "
                f"behind: fedtailor run --resume {resume} KEY=VALUE"
            )
    return own


def carry_out(
    job: "Job",
    *,
    out_folder: Path | None = None,
    resume: Path | None = None,
    baseline: Baseline | None = None,
    quiet: bool = False,
    network: Path | None = None,
    without: Sequence[str] = (),
    live: bool = False,
) -> "Result":
    """Run the job with progress on stderr, or with warnings and failures alone if `quiet`; on a network if one is given.

    Args:
        live: whether a page in the browser shows the run meanwhile.
    """
    from .progress import QUIET, watch
    from .watch import begin_watching

    if live:
        from ..report.live import check_live

        check_live()
    with watch(err(), quiet=quiet) as watcher, collection_paused() as begun:

        def see(kind: str, facts: Mapping[str, Any]) -> None:
            if kind not in QUIET:
                begun()
            watcher(kind, facts)
            if live and kind in {"start", "resume"}:
                begin_watching(watcher.folder)

        try:
            return _start(job, out_folder, resume, baseline, see, network, without)
        except KeyboardInterrupt:
            folder = watcher.folder or resume
            there = f" --on {network}" if network else ""
            tip = f"; resume it with fedtailor run --resume {folder}{there}" if folder and baseline is None else ""
            complain(f"stopped{tip}")
            raise typer.Exit(1) from None


def show_end(folder: Path, samples: int) -> None:
    """Print the tables of a run that has just ended, and what can be done with it; exit with 1 if nothing better than the start was found."""
    from ..report import read_run, show
    from .diagnose import leave_findings
    from .draw import makes_pictures
    from .report import leave_report

    found = read_run(folder)
    out().print(show(found, samples=samples))
    leave_findings(found)
    leave_report(found)
    if any((folder / name).is_dir() for name in ("adapter", "model", "prompt")):
        given = "" if makes_pictures(folder) else ' "…"'  # pictures are made of labels, of the first ones where none is named
        say("  [dim]next[/]  {after}\n", after=f"fedtailor try {folder}{given}   ·   fedtailor export {folder} FOLDER")
    leave_if_nothing_is_better(found.summary)


def leave_if_nothing_is_better(summary: Mapping[str, Any]) -> None:
    """Exit with 1, and say so, if the result of a run is its untrained start."""
    if summary.get("better_than_start") is False and summary.get("kept") == "best":
        complain("nothing better than the start was found, so the result is the untrained start")
        raise SystemExit(1)


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

    if network is not None:
        if baseline is not None:
            raise SettingError("--baseline compares clients on one machine; leave one of --baseline and --on out.")
        from ..network.command.submit import run_on

        return run_on(job, network, out=out_folder, resume=resume, without=without, watcher=watcher)
    if without:
        raise SettingError("--without leaves a site of a network out; name the network with --on, or leave it out.")
    if baseline is None:
        from ..running import run as run_job

        return run_job(job, out=out_folder, resume=resume, watcher=watcher)
    if resume is not None:
        raise SettingError(
            "--resume continues a federated run; a baseline starts again: leave one of --resume and --baseline out."
        )
    from ..studies.baselines import run_baseline

    return run_baseline(job, kind=baseline.value, out=out_folder, watcher=watcher)
