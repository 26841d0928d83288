"""Diagnoses of runs that were carried out: what they measure is there under the names that signatures ask for."""

from fedtailor.diagnoses import diagnose
from fedtailor.report import read_run
from fedtailor.running import run


def test_a_healthy_run_is_judged_and_nothing_found(make_job, rows, tmp_path):
    job = make_job(stop__rounds=3, evaluation__local_gain=True, protocol__local__clip_norm=1.0)
    found = read_run(run(job, data=rows, out=tmp_path / "r").folder)
    diagnosis = diagnose([found])
    assert [finding.signature for finding in diagnosis.findings] == []
    assert {"stalls-early", "unstable-rounds", "slow-exchange", "unequal-ranks", "not-finite"} <= set(diagnosis.silent)
    assert set(diagnosis.not_judged) == {"sparse-clients", "seeds-differ", "stale-backbone"}
    clipped, norms = found.columns("clients", "clipped", "gradient_norm")
    assert all(0 <= share <= 1 for share in clipped)
    assert all(norm > 0 for norm in norms)


def test_a_learning_rate_far_too_large_is_found(make_job, rows, tmp_path):
    job = make_job(stop__rounds=4, tuning="full", protocol__local__learning_rate=1.0)
    found = diagnose([read_run(run(job, data=rows, out=tmp_path / "r").folder)])
    assert "stalls-early" in [finding.signature for finding in found.findings]
