"""fedtailor audit: attacks of our own on a finished run."""

from pathlib import Path
from typing import Annotated

import typer

from .console import err, note, out
from .waiting import waiting


def audit(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.", metavar="RUN")],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="An attack: membership, canaries, words or 'own noise'; may be given again."),
    ] = None,
) -> None:
    """Attack a finished run with its clients' data: what can be learned of examples from the model and from updates, beside what chance gives."""
    from ..report import read_run

    read_run(run)  # says of a folder that is no finished run's what it is, before anything heavy is loaded
    from ..audit import audit as carry_out
    from ..report.run.audit import audit_table

    with waiting(err(), "attacking the run"):
        findings, left_out = carry_out(run, only=only or ())
    out().print("", audit_table([vars(found) for found in findings]), "")
    for text in left_out:
        note(text)
