"""Every claim is data that can be read, and its test a set of runs that are jobs."""

import re
from pathlib import Path

import pytest
import typer

from fedtailor.cli.main import make_app
from fedtailor.errors import DataError, SettingError
from fedtailor.studies.claims import append_evidence, cells_of, claim_named, judge, load_papers, read_all, verdict_of
from fedtailor.studies.claims.verdict import NOT_RUN, UNTESTABLE, VERDICTS
from fedtailor.studies.sweep import columns_of

ROOT = Path(__file__).parents[3]
CLAIMS = [claim for paper in load_papers() for claim in paper.claims]
BY_RECIPE = [claim for claim in CLAIMS if claim.recipe]
BY_COMMAND = [claim for claim in CLAIMS if claim.command]


def test_there_are_the_claims_of_three_papers():
    assert [paper.number for paper in load_papers()] == ["2511.11585", "2601.00526", "2501.04436"]
    assert len(CLAIMS) >= 41


@pytest.mark.few(10)
@pytest.mark.parametrize("claim", BY_RECIPE, ids=lambda claim: claim.id)
def test_every_recipe_that_tests_a_claim_has_both_sides(claim, data):
    for runs in cells_of(claim, data):  # refuses a side that no run has
        seeds = {columns_of(runs.axes, cell)["seed"] for cell in runs.cells}
        assert len(seeds) == (1 if claim.counted else 3)


@pytest.mark.parametrize("claim", BY_COMMAND, ids=lambda claim: claim.id)
def test_every_other_command_names_what_is_there(claim):
    first, *words = claim.command.split()
    if first == "fedtailor":
        assert words[0] in typer.main.get_command(make_app()).commands
    named = re.findall(r"(?:benchmarks|tests)/[\w/.-]+", claim.command)
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert first in {"fedtailor", "python", "pytest"}


def test_every_verdict_is_computed_and_what_was_not_run_states_its_hours():
    known = read_all()
    assert set(known) <= {claim.id for claim in CLAIMS}
    for claim in CLAIMS:
        names = {comparison.name for comparison in claim.compare}
        assert {line.comparison for line in known.get(claim.id, [])} <= names, claim.id
        verdict = verdict_of(claim, judge(claim, known.get(claim.id, [])))
        assert verdict in VERDICTS
        assert verdict != NOT_RUN or claim.hours, claim.id
        assert (verdict == UNTESTABLE) == bool(claim.untestable), claim.id


def test_every_line_says_where_it_is_from():
    lines = [line for lines in read_all().values() for line in lines]
    assert lines
    for line in lines:
        assert line.origin in {"measured", "transcribed"}
        assert line.commit
        assert line.machine
        assert line.size
        assert len(line.effects) in {0, len(line.seeds)}


def test_a_claim_that_there_is_not():
    with pytest.raises(SettingError, match="did you mean fedgen-rank"):
        claim_named("fedgen-rnak")


def test_lines_are_kept_beside_those_of_the_package(tmp_path):
    line = next(iter(read_all().values()))[0]
    for _ in range(2):
        append_evidence(tmp_path / "own", [line])
    assert len(read_all(tmp_path / "own")[line.claim]) == len(read_all()[line.claim]) + 2
    (tmp_path / "own" / "x.jsonl").write_text('{"claim": "x", "oops": 1}\n')
    with pytest.raises(DataError, match=r"line 1 of .*x.jsonl is no line of evidence"):
        read_all(tmp_path / "own")
