"""fedtailor advise: which technique fits a job and its limits, and what finished runs say of it."""

import shlex
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SettingError
from .console import err, out, print_json
from .means import AtOnce, Bandwidth, ClientFlops, ClientMemory, Latency, means_of
from .run import JobFile, Overrides
from .waiting import waiting

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..studies.advice import Candidate, Score

SHOWN = 3  # commands that are printed


class Want(StrEnum):
    """What a job shall be good at, within its limits."""

    accuracy = "accuracy"
    bytes = "bytes"
    seconds = "seconds"


Seconds = Annotated[float | None, typer.Option(help="Seconds that the run may take.")]
Public = Annotated[
    Path | None, typer.Option(help="A file of public examples: with it, distillation is a candidate.", metavar="FILE")
]
Evidence = Annotated[Path | None, typer.Option(help="A table of finished runs, as --collect writes it.", metavar="FILE")]
Collect = Annotated[
    list[Path] | None,
    typer.Option(
        help="Add finished runs below this folder to the evidence, which --evidence names; may be given again.", metavar="RUNS"
    ),
]


def advise(  # noqa: PLR0917 - Typer passes all by name
    job: JobFile,
    settings: Overrides = None,
    bandwidth: Bandwidth = None,
    latency: Latency = 0.0,
    client_memory: ClientMemory = None,
    client_flops: ClientFlops = None,
    at_once: AtOnce = None,
    seconds: Seconds = None,
    public: Public = None,
    want: Annotated[Want, typer.Option(help="What comes first among all that fits.")] = Want.accuracy,
    evidence: Evidence = None,
    collect: Collect = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON alone.")] = False,
) -> None:
    """Compare techniques for a job: those that fit its limits, in the order of what finished runs measured; nothing is trained."""
    means = means_of(
        bandwidth=bandwidth, latency=latency, client_memory=client_memory, client_flops=client_flops, at_once=at_once
    )
    _check_given(seconds, bandwidth, public)
    from ..job import Job
    from ..pairs import technique
    from ..studies.advice import Search, candidates_of, papers_rule, scores

    loaded = Job.load(job, settings or [])
    if technique("protocol", loaded.protocol).lack("documents") is None:
        raise SettingError(
            "advise compares ways to train a model, and a job with protocol: retrieval trains none; fedtailor check shows what would leave "
            "each client, and fedtailor rag evaluate measures what is found"
        )
    table = _evidence(evidence, collect or [])
    search = Search(file=job, settings=settings or [], means=means, most_seconds=seconds)
    every = list(candidates_of(loaded, public))
    looked = []
    for number, overrides in enumerate(every, start=1):
        with waiting(err(), f"candidate {number} of {len(every)}"):
            looked.append(search.look(overrides))
    known = {} if table is None or search.place is None else scores(table, search.place)
    fits = sorted((each for each in looked if not each.reason), key=lambda each: _order(each, known, want))
    rule = papers_rule(want.value, classes="accuracy" in loaded.task.figures, public=public is not None)
    if as_json:
        print_json(_as_json(fits, [each for each in looked if each.reason], known, rule))
        return
    for part in _shown(fits, [each for each in looked if each.reason], known, rule):
        out().print(part)
    for each in fits[:SHOWN]:  # whole lines, to be copied
        out().print(f"  {shlex.join(['fedtailor', 'run', str(job), *(settings or []), *each.overrides])}", soft_wrap=True)


def _check_given(seconds: float | None, bandwidth: float | None, public: Path | None) -> None:
    """Raise SettingError if a limit makes no sense, or the public file is not there."""
    if seconds is not None and not 0 < seconds < float("inf"):
        raise SettingError(f"--seconds is a number above 0, such as 3600; got {seconds}")
    if seconds is not None and bandwidth is None:
        raise SettingError("--seconds is held against the time of computing and sending; give --bandwidth too, in bytes a second")
    if public is not None and not public.is_file():
        raise SettingError(f"--public {public} is no file; give one with the columns of the job's data")


def _evidence(file: Path | None, folders: Sequence[Path]) -> Any:
    """Return the table of finished runs; None if none is named. What is collected is added to the file."""
    from ..studies.advice import evidence_from, read_evidence

    if not folders:
        return None if file is None else read_evidence(file)
    found = evidence_from(folders)
    if file is not None:
        import pandas as pd

        from ..storage import write_bytes

        if file.is_file():
            found = pd.concat([read_evidence(file), found]).drop_duplicates(["decision", "system", "settings", "seed", "run"])
        write_bytes(file, found.to_parquet(index=False))
    return found


def _order(candidate: "Candidate", known: "Mapping[str, Score]", want: Want) -> tuple[float, ...]:
    """Return what candidates are sorted by: those with evidence first where accuracy counts, else the least cost."""
    score = known.get(candidate.system)
    standing = (float(score is None), -score.score if score else 0.0)
    if want is Want.accuracy:
        return (*standing, candidate.total_bytes)
    if want is Want.bytes:
        return (candidate.total_bytes, *standing)
    assert candidate.estimate is not None
    return (candidate.estimate.seconds["run"] or candidate.estimate.flops["train"], *standing)


def _as_json(
    fits: "Sequence[Candidate]", out_of: "Sequence[Candidate]", known: "Mapping[str, Score]", rule: str
) -> dict[str, Any]:
    from dataclasses import asdict

    def each(candidate: "Candidate") -> dict[str, Any]:
        found, score = candidate.estimate, known.get(candidate.system)
        return {
            "system": candidate.system,
            "overrides": list(candidate.overrides),
            "bytes": candidate.total_bytes,
            "memory": found.largest[1].memory.peak if found and found.largest else None,
            "seconds": found.seconds["run"] if found else None,
            "evidence": asdict(score) if score else None,
        }

    return {
        "fits": [each(candidate) for candidate in fits],
        "out": [
            {"system": candidate.system, "overrides": list(candidate.overrides), "reason": candidate.reason}
            for candidate in out_of
        ],
        "paper": rule,
    }


def _shown(
    fits: "Sequence[Candidate]", out_of: "Sequence[Candidate]", known: "Mapping[str, Score]", rule: str
) -> "list[RenderableType]":
    from rich.padding import Padding
    from rich.text import Text

    found: list[RenderableType] = [Padding(_table(fits, known), (1, 2, 1, 2), expand=False)] if fits else []
    if not fits:
        narrow = any(each.over_limit for each in out_of)
        why = "the limits are too narrow" if narrow else "no candidate goes together with this job, whatever the limits"
        found.append(Padding(Text(f"nothing fits: {why}; the reasons stand below"), (1, 2, 1, 2), expand=False))
    found += [Padding(Text(f"out: {each.system}: {each.reason}", style="dim"), (0, 2, 0, 2), expand=False) for each in out_of]
    found.append(Padding(Text(f"the papers: {rule}"), (1, 2, 1, 2), expand=False))
    return found


def _table(fits: "Sequence[Candidate]", known: "Mapping[str, Score]") -> "RenderableType":
    from ..report.plain import plain_table
    from ..units import bytes_text, seconds_text

    table = plain_table("system")
    for title in ("bytes of the run", "memory of a client", "seconds"):
        table.add_column(title, justify="right")
    table.add_column("evidence")
    for each in fits:
        found = each.estimate
        assert found is not None
        memory = bytes_text(found.largest[1].memory.peak) if found.largest else "–"
        seconds = found.seconds["run"]
        table.add_row(
            each.system,
            bytes_text(each.total_bytes),
            memory,
            "–" if seconds is None else seconds_text(seconds),
            _said(known.get(each.system)),
        )
    return table


def _said(score: "Score | None") -> str:
    if score is None:
        return "none"
    gain = "" if score.gain is None else f"{score.gain:+.3f} {score.metric} to the mean of its rivals, more is better; "
    return f"{gain}{score.runs} runs in {score.decisions} decisions"
