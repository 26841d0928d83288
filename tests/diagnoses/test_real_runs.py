"""Diagnoses of runs that were carried out: what they measure is there under the names that signatures ask for."""

import pytest
from distilling import class_data, class_job

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


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": {"kind": "split", "cut": 1, "wire": {"kind": "int8"}, "local": {"learning_rate": 0.02, "batch_size": 4}}},
        {"personalization": {"kind": "finetune", "epochs": 1, "keep": "best"}, "stop__rounds": 2},
        {"clients__fraction": 0.5},
    ],
    ids=["split", "personal", "half of the clients"],
)
def test_other_healthy_runs_show_nothing(changes, make_job, rows, tmp_path):
    found = read_run(run(make_job(**changes), data=rows, out=tmp_path / "r").folder)
    assert [(finding.signature, finding.evidence) for finding in diagnose([found]).findings] == []
    if "protocol" in changes:
        assert all(0 < error < 0.1 for error in found.columns("clients", "wire_error")[0])


@pytest.mark.slow
def test_a_distillation_on_alike_public_rows_shows_nothing(tiny_bert_folder, tmp_path):
    job = class_job(tiny_bert_folder, stop__rounds=3)
    diagnosis = diagnose([read_run(run(job, data=class_data(), out=tmp_path / "r").folder)])
    assert [(finding.signature, finding.evidence) for finding in diagnosis.findings] == []
    assert {"public-set", "large-logits"} <= set(diagnosis.silent)


@pytest.mark.slow
def test_a_code_that_loses_nearly_all_is_found(make_job, rows, tmp_path):
    wire = {"kind": "top-channels", "share": 0.07}
    local = {"learning_rate": 0.3, "batch_size": 4}
    job = make_job(protocol={"kind": "split", "cut": 1, "wire": wire, "feedback": False, "local": local}, stop__rounds=6)
    diagnosis = diagnose([read_run(run(job, data=rows, out=tmp_path / "r").folder)])
    assert "quantized-activations" in [finding.signature for finding in diagnosis.findings]
