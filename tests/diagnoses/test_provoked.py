"""Jobs of a few seconds that fail as papers describe, and healthy ones: those of the study (benchmarks/diagnoses.py), one seed each."""

import sys
from pathlib import Path

import pytest

from fedtailor.diagnoses import diagnose
from fedtailor.report import Run

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from diagnoses import DECISIVE, EVERY, OF_PAPERS, counted, judge_of, judged, value_of
from provoking import HEALTHY, PROVOKING, make_backbones

ELSEWHERE = {"stalls-early", "quantized-activations"}  # in test_real_runs.py
MISSED = {"plateau"}  # a job of seconds swings by more than the slope that a plateau may have (docs/results.md)
NEW = ("a prefix", "Ditto", "texts", "skewed data", "two and four clients")  # the others are like those of test_real_runs.py
SEEDS = {"seeds-differ": 3}


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbones")
    make_backbones(folder)
    return folder


def found_in(case, backbones, out):
    runs = [run for seed in range(SEEDS.get(case.provokes, 1)) for run in case.carry_out(backbones, seed, out / str(seed))]
    return {finding.signature: finding.evidence for finding in diagnose(runs).findings}


def test_every_signature_of_the_papers_is_provoked():
    assert sorted(case.provokes for case in PROVOKING.values()) == sorted(OF_PAPERS)
    assert len(OF_PAPERS) == 13


@pytest.mark.few(3)
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, case in PROVOKING.items() if case.provokes not in ELSEWHERE | MISSED])
def test_what_is_provoked_is_found(name, backbones, tmp_path):
    case = PROVOKING[name]
    if case.provokes == "out-of-memory" and sys.platform != "linux":
        pytest.skip("memory can be limited on Linux alone")
    assert case.provokes in found_in(case, backbones, tmp_path)


@pytest.mark.few(2)
@pytest.mark.slow
@pytest.mark.parametrize("name", NEW)
def test_healthy_jobs_show_nothing(name, backbones, tmp_path):
    assert found_in(HEALTHY[name], backbones, tmp_path) == {}


def test_the_value_is_the_threshold_at_which_a_finding_just_appears(made):
    bias = made(rounds={"bias": [0.4, 0.5, 0.4, 0.5, 0.4]})  # 0.44 on average
    assert value_of("unequal-ranks", judge_of("unequal-ranks", [bias])) == pytest.approx(0.44, abs=1e-5)
    texts = made(texts=[(f"reference {i}", f"text {i % 3}") for i in range(12)])  # 3 different ones for 12
    assert value_of("collapsed-texts", judge_of("collapsed-texts", [texts])) == pytest.approx(0.25, abs=1e-5)
    assert judge_of("plateau", [texts]) is None  # nothing of it was measured
    assert all(hasattr(EVERY[name], of.name) for name, of in DECISIVE.items())


def test_thresholds_lie_midway_and_are_counted_on_the_other_half(made):
    def of(bias) -> list[Run]:
        return [made(rounds={"bias": [bias] * 5}).run]

    provoked = next(name for name, case in PROVOKING.items() if case.provokes == "unequal-ranks")
    done = {(name, seed): of(0.1 + seed / 100) for name in (*PROVOKING, *HEALTHY) for seed in range(4)}
    done |= {(provoked, seed): of(0.25 + seed / 100) for seed in range(4)}
    figures = judged(done, 4)
    row = counted(figures).set_index("signature").loc["unequal-ranks"]
    # half that sets: healthy up to 0.11, provoked from 0.25
    assert row["set"] == pytest.approx(0.18, abs=1e-5)
    assert (row["found, default"], row["found, set"]) == ("0 of 2", "2 of 2")
    assert row["false, set"].startswith("0 of ")
