"""fedtailor claims: what papers claim, and what was found here."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import complain, note, out, print_json
from .run import Overrides

if TYPE_CHECKING:
    from ..studies.claims import Claim, Evidence, Judged, Runs
    from ..studies.sweep import Swept

app = typer.Typer(help="What papers claim, and what was found here: list them, show one, run its test.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="One of fedtailor claims list.", metavar="ID")]
EvidenceFolder = Annotated[
    Path, typer.Option("--evidence", help="The folder of your own evidence, beside that of the package.", metavar="FOLDER")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON alone.")]
OWN = Path("runs") / "claims-evidence"


@app.command(name="list")
def list_all(evidence: EvidenceFolder = OWN, as_json: AsJson = False) -> None:
    """List all claims with their verdicts."""
    from ..report.several.claims import list_claims
    from ..studies.claims import judge, load_papers, read_all, verdict_of

    known = read_all(evidence)
    rows = [
        (paper.number, claim.id, verdict_of(claim, judge(claim, known.get(claim.id, []))), claim.says)
        for paper in load_papers()
        for claim in paper.claims
    ]
    if as_json:
        print_json([dict(zip(("paper", "id", "verdict", "says"), row, strict=True)) for row in rows])
        return
    out().print(list_claims(rows))


@app.command()
def show(name: Name, evidence: EvidenceFolder = OWN, as_json: AsJson = False) -> None:
    """Show a claim, the command that tests it, and the evidence."""
    from ..studies.claims import claim_named, judge, read_all, verdict_of

    paper, claim = claim_named(name)
    judged = judge(claim, read_all(evidence).get(claim.id, []))
    if as_json:
        found = [{"verdict": each.verdict, "evidence": each.evidence and asdict(each.evidence)} for each in judged]
        print_json(
            {"paper": paper.number, **asdict(claim), "runs": claim.runs, "verdict": verdict_of(claim, judged), "found": found}
        )
        return
    from ..report.several.claims import show_claim

    out().print(
        show_claim(
            id=claim.id,
            paper=f"arXiv:{paper.number}  {paper.title}",
            says=claim.says,
            measure=claim.measure,
            verdict=verdict_of(claim, judged),
            runs=claim.runs,
            hours=claim.hours,
            reason=claim.untestable,
            notes=claim.notes,
            rows=[_row(each) for each in judged],
        )
    )


def _row(judged: "Judged") -> tuple[str, str, str, str, str]:
    """Return a comparison's name, effects, interval, verdict, and where its evidence is from."""
    from ..studies.claims import effects_text, interval_text

    line = judged.evidence
    where = (
        ""
        if line is None
        else f"{line.origin} at {line.commit}, {line.machine}: {line.size}" + (f" ({line.note})" if line.note else "")
    )
    return judged.comparison.name, effects_text(line), interval_text(line), judged.verdict, where


@app.command()
def run(  # noqa: PLR0917 - Typer passes all by name
    name: Name,
    settings: Overrides = None,
    data: Annotated[Path | None, typer.Option(help="The folder that holds e2e/train.parquet and so on.", metavar="DATA")] = None,
    finished: Annotated[
        Path | None, typer.Option("--from", help="Run nothing: take the finished runs of a sweep or recipe.", metavar="FOLDER")
    ] = None,
    evidence: EvidenceFolder = OWN,
    as_json: AsJson = False,
) -> None:
    """Run what decides a claim, with three seeds, and add what was found to your evidence; the same command again continues.

    seed=0,1,2,3 takes other seeds; any setting of the runs may be changed, and the evidence says so.
    """
    from ..errors import SettingError
    from ..studies.claims import append_evidence, cells_of, claim_named, finding
    from ..studies.recipes import load_recipe

    _, claim = claim_named(name)
    if (data is None) == (finished is None):
        raise SettingError(
            f"fedtailor claims run {name} needs --data DATA, to run what decides it, or --from FOLDER, of runs that are finished"
        )
    lines: list[Evidence] = []
    if finished is not None:
        from ..studies.sweep import read_sweep

        swept, _ = read_sweep(finished)
        lines = [finding(claim, each, swept, size=finished.name) for each in claim.compare]
    else:
        found = cells_of(claim, data or Path(), settings or [])
        load_recipe(claim.recipe).prepare(claim.variant, data or Path())
        for runs in found:
            load_recipe(claim.recipe).prepare(claim.variant, data or Path())
            swept = _carry_out(claim, runs, quiet=as_json)
            size = " ".join([f"{claim.recipe} {claim.variant}", *runs.settings])
            lines += [finding(claim, each, swept, size=size) for each in runs.comparisons]
    files = append_evidence(evidence, lines)
    show(name, evidence, as_json)
    if not as_json:
        note(f"added to {', '.join(map(str, files))}")


def _carry_out(claim: "Claim", runs: "Runs", *, quiet: bool) -> "Swept":
    """Run the cells that are not done; claims of one recipe with the same settings share a folder."""
    from ..storage import text_sha256
    from ..studies.sweep import is_done, run_sweep
    from .sweep import watching

    mark = f"-{text_sha256(repr(runs.settings))[:6]}" if runs.settings else ""
    folder = Path("runs") / "claims" / f"{claim.recipe}-{claim.variant}{mark}"
    cells = [*runs.cells, *(cell for cell in runs.others if is_done(cell, folder))]
    try:
        swept = run_sweep(runs.axes, cells, folder, watching=None if quiet else watching)
    except KeyboardInterrupt:
        complain(f"stopped; the same command continues with what is missing in {folder}")
        raise typer.Exit(1) from None
    _complain_of_failed(swept.table.to_dict("records"))
    return swept


def _complain_of_failed(rows: Sequence[dict[Any, Any]]) -> None:
    for row in rows:
        if row["status"] == "failed":
            note(f"{row['cell']} failed: {row['error']}")
