"""fedtailor diagnose: which of the known failures runs show."""

import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SettingError
from .console import note, out, say

if TYPE_CHECKING:
    from ..diagnoses import Diagnosis, Finding
    from ..report import Run

FOUND = 3  # the exit code with --fail-on
ONE = ("possible", "likely")


def diagnose(
    runs: Annotated[
        list[Path], typer.Argument(help="The folder of a run, finished or not; several are compared too.", metavar="RUN")
    ],
    thresholds: Annotated[
        list[str] | None, typer.Option("--set", help="Another threshold: plateau.taken=0.9", metavar="NAME.THRESHOLD=VALUE")
    ] = None,
    fail_on: Annotated[
        str, typer.Option(help="Exit with 3 if a finding is at least that certain.", metavar="possible|likely")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
) -> None:
    """Say which of the known failures runs show, with evidence, and what to try."""
    if fail_on and fail_on not in ONE:
        raise SettingError(f"--fail-on is possible or likely; got {fail_on!r}")
    from ..diagnoses import CERTAINTIES, with_thresholds
    from ..diagnoses import diagnose as look
    from ..report.so_far import read_so_far

    signatures, comparisons = with_thresholds(thresholds or [])
    found = look([read_so_far(run) for run in runs], signatures=signatures, comparisons=comparisons)
    if as_json:
        out().print(json.dumps(asdict(found), indent=1), soft_wrap=True, markup=False, highlight=False)
    else:
        _print(found, runs[0])
    if fail_on and any(CERTAINTIES.index(each.certainty) >= ONE.index(fail_on) for each in found.findings):
        raise SystemExit(FOUND)


def _print(found: "Diagnosis", run: Path) -> None:
    from ..printable import printable

    def line(text: str = "") -> None:
        out().print(printable(text), soft_wrap=True, markup=False, highlight=False)

    for finding in found.findings:
        for text in lines_of(finding, run):
            line(text)
        line()
    if not found.findings:
        line("nothing stood out")
    line(f"judged and not found: {', '.join(found.silent) or 'nothing'}")
    for name, why in found.not_judged.items():
        line(f"not judged: {name}: {why}")


def lines_of(finding: "Finding", run: Path) -> list[str]:
    """Return a finding as lines of text."""
    lines = [f"{finding.title} ({finding.signature}, {finding.certainty})", *(f"  {text}" for text in finding.evidence)]
    lines.append(f"  try     {finding.advice}")
    lines += [
        f"          fedtailor run {shlex.quote(str(run / 'job.yaml'))} {quoted(override)}" for override in finding.overrides
    ]
    return [*lines, f"  source  {finding.source}"]


def quoted(override: str) -> str:
    """Return settings as a shell takes them."""
    settings = re.findall(r"[^\s=]+=(?:\{[^}]*\}|\S+)", override)
    return " ".join(f"'{setting}'" if "{" in setting else setting for setting in settings)


def leave_findings(run: "Run") -> None:
    """Print what a run that has just ended shows of known failures, a line each."""
    from ..diagnoses import diagnose as look
    from ..errors import FedtailorError

    try:
        findings = look([run]).findings
    except FedtailorError as error:
        note(f"the run was not diagnosed: {error}")
        return
    for finding in findings:
        say(
            "  [yellow]look[/]  {title}: {first}   ·   fedtailor diagnose {run}\n",
            title=finding.title,
            first=finding.evidence[0],
            run=run.folder,
        )
