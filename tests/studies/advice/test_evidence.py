"""Evidence from finished runs."""

import pytest

from fedtailor.errors import DataError
from fedtailor.running import run
from fedtailor.studies.advice import evidence_from, read_evidence
from fedtailor.studies.advice.evidence import system_of


def test_a_finished_run_is_a_row_and_runs_that_differ_in_their_system_are_one_decision(make_job, rows, tmp_path):
    for name, rule, seed in (("a", "fedavg", 0), ("b", "ffa-lora", 1)):
        run(make_job(stop__rounds=1, seed=seed, protocol__aggregation={"kind": rule}), data=rows, out=tmp_path / name)
    found = evidence_from([tmp_path])
    assert list(found["system"]) == ["averaging, lora 2, fedavg", "averaging, lora 2, ffa-lora"]
    assert found["decision"].nunique() == 1
    assert list(found["metric"]) == ["loss", "loss"]
    assert list(found["seed"]) == [0, 1]
    assert (found["bytes"] > 0).all()
    found.to_parquet(tmp_path / "evidence.parquet")
    assert len(read_evidence(tmp_path / "evidence.parquet")) == 2
    (tmp_path / "a" / "hashes.json").unlink()
    (tmp_path / "a" / "environment.json").unlink()  # as a run of an earlier version, whose files have no hashes
    for text in ("", "[]", "protocol: {kind: averaging}\ntuning: {kind: lora}\n"):
        (tmp_path / "a" / "job.yaml").write_text(text)
        with pytest.raises(DataError, match=r"the run in .*a cannot be read as evidence"):
            evidence_from([tmp_path])


def test_target_modules_are_part_of_a_system(make_job):
    job = make_job(tuning={"kind": "lora", "rank": 4, "targets": ["q_proj"]})
    assert system_of(job.to_dict()) == "averaging, lora 4 on q_proj, fedavg"


def test_what_is_no_evidence_is_named(tmp_path):
    with pytest.raises(DataError, match="no finished run in"):
        evidence_from([tmp_path])
    (tmp_path / "table.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="cannot be read as evidence"):
        read_evidence(tmp_path / "table.parquet")
