"""fedtailor advise: what fits a job, in which order, and what to type."""

import json
import shlex

import pytest

from fedtailor.cli import advise
from fedtailor.studies.advice import candidates


@pytest.fixture
def few(monkeypatch):
    """Look at three candidates, one of which is refused."""
    every = candidates.candidates_of

    def chosen(job, public):
        found = list(every(job, public))
        yield from (found[0], found[2])
        yield ["tuning={kind: lora, rank: 4, targets: [nowhere]}", "protocol={kind: averaging}"]

    monkeypatch.setattr("fedtailor.studies.advice.candidates_of", chosen)
    assert advise.SHOWN == 3


LIMITS = ["--bandwidth", "1e5", "--client-flops", "1e9"]


def test_what_fits_is_ordered_refused_ones_keep_their_reason_and_commands_can_be_typed(fedtailor, write_job, few):
    job = write_job()
    found = json.loads(fedtailor("advise", job, *LIMITS, "--want", "bytes", "--json")[1])
    assert [each["system"] for each in found["fits"]] == ["averaging, lora 4, fedavg", "averaging, lora 16, fedavg"]
    assert found["fits"][0]["bytes"] < found["fits"][1]["bytes"]
    code, printed, _ = fedtailor("advise", job, *LIMITS, "--want", "bytes")
    assert code == 0
    assert "nowhere" in printed
    assert "arXiv 2501.04436" in printed
    line = next(line for line in printed.splitlines() if "fedtailor run" in line)
    words = shlex.split(line)
    assert fedtailor("check", *words[2:])[0] == 0


def test_limits_are_hard(fedtailor, write_job, few):
    code, printed, _ = fedtailor("advise", write_job(), *LIMITS, "--client-memory", "1e6", "--json")
    found = json.loads(printed)
    assert code == 0
    assert found["fits"] == []
    assert sum("--client-memory" in each["reason"] for each in found["out"]) == 2
    slow = json.loads(fedtailor("advise", write_job(), *LIMITS, "--seconds", "1e-3", "--json")[1])
    assert sum("--seconds" in each["reason"] for each in slow["out"]) == 2


def test_finished_runs_decide_where_accuracy_is_wanted(fedtailor, write_job, few, tmp_path):
    for rank in (4, 16):
        settings = [f"tuning={{kind: lora, rank: {rank}}}", "protocol.local.learning_rate=0.01", "stop.rounds=1"]
        assert fedtailor("run", write_job(), *settings, "--out", tmp_path / "runs" / str(rank), "--json")[0] == 0
    table = tmp_path / "evidence.parquet"
    found = json.loads(
        fedtailor("advise", write_job(), *LIMITS, "--collect", tmp_path / "runs", "--evidence", table, "--json")[1]
    )
    assert table.is_file()
    scores = [each["evidence"]["score"] for each in found["fits"]]
    assert scores == sorted(scores, reverse=True)
    assert "1 runs in 1 decisions" in " ".join(fedtailor("advise", write_job(), *LIMITS, "--evidence", table)[1].split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--public", "nowhere.parquet"], "is no file"),
        (["--seconds", "60"], "give --bandwidth too"),
        (["--evidence", "nowhere.parquet"], "nowhere.parquet is no file; fedtailor advise --collect"),
        (["--collect", "."], "no finished run"),
    ],
)
def test_bad_input_is_one_paragraph(fedtailor, write_job, monkeypatch, options, words):
    job = write_job()
    monkeypatch.chdir(job.parent)
    code, printed, complaint = fedtailor("advise", job, *options)
    assert (code, printed) == (2, "")
    assert words in " ".join(complaint.split())


def test_why_nothing_fits_is_said(fedtailor, write_job, few, monkeypatch, tmp_path):
    narrow = " ".join(fedtailor("advise", write_job(), *LIMITS, "--client-memory", "1e6")[1].split())
    assert "the limits are too narrow" in narrow
    monkeypatch.setattr(
        "fedtailor.studies.advice.candidates_of", lambda job, public: [["tuning={kind: lora, targets: [nowhere]}"]]
    )
    refused = " ".join(fedtailor("advise", write_job(), *LIMITS)[1].split())
    assert "too narrow" not in refused
    assert "no candidate goes together with this job" in refused
    (tmp_path / "ask.yaml").write_text(
        "task: {kind: question-answering}\ndata: {train: p.parquet}\nprotocol: {kind: retrieval}\n"
    )
    code, printed, said = fedtailor("advise", tmp_path / "ask.yaml")
    assert (code, printed) == (2, "")
    assert "trains none" in " ".join(said.split())
