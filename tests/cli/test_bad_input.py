"""Every fault of a job or its data: exit 2, one paragraph that names it and the remedy, nothing half-written."""

import pytest

GOOD = [{"question": f"q {i}?", "answer": f"a {i}", "who": "ab"[i % 2]} for i in range(40)]
BAD = {
    "wrong key": ({"tuning": {"rnak": 3}}, "tuning.rank"),
    "wrong section": ({"learning_rate": 0.1}, "protocol.local.learning_rate"),
    "wrong type": ({"stop": {"rounds": "three"}}, "stop.rounds must be a whole number"),
    "unknown kind": ({"tuning": {"kind": "lorra"}}, "did you mean lora?"),
    "unknown backbone": ({"backbone": "smollm3"}, "smollm"),
    "missing backbone folder": ({"backbone": "./nowhere"}, "nowhere"),
    "missing data file": ({"data": {"train": "trian.jsonl"}}, "trian.jsonl"),
    "missing column": ({"data": {"train": "train.jsonl", "columns": {"input": "qestion", "target": "answer"}}}, "question"),
    "zero clients": ({"clients": {"count": 0}}, "at least 1"),
    "more clients than examples": ({"clients": {"count": 400, "min_examples": 1}}, "400"),
    "unknown partition column": ({"clients": {"partition": {"kind": "natural", "by": "whom"}}}, "who"),
    "template without target": ({"task": {"kind": "generation", "template": "{input}"}}, "{target}"),
    "metric of another task": ({"evaluation": {"metrics": ["accuracy"]}}, "does not measure"),
    "zero learning rate": ({"protocol": {"local": {"learning_rate": 0.0}}}, "protocol.local.learning_rate"),
    "fraction above one": ({"clients": {"fraction": 1.5}}, "clients.fraction"),
    "4bit without a GPU": ({"precision": "4bit", "device": "cpu"}, "4bit"),
    "label out of range": (
        {
            "task": {"kind": "classification", "labels": ["x", "y"]},
            "data": {"train": "train.jsonl", "columns": {"text": "question", "label": "who"}},
        },
        "label",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_jobs(fedtailor, write_job, tmp_path, fault):
    sections, words = BAD[fault]
    assert_refused(fedtailor, write_job(GOOD, **sections), words, tmp_path)


BAD_ROWS = {
    "empty target": ([{**row, "answer": "" if i == 7 else row["answer"]} for i, row in enumerate(GOOD)], "answer"),
    "null in data": ([{**row, "answer": None if i == 7 else row["answer"]} for i, row in enumerate(GOOD)], "answer"),
    "NaN in data": ([{**row, "question": float("nan") if i == 7 else row["question"]} for i, row in enumerate(GOOD)], "question"),
}


@pytest.mark.parametrize("fault", BAD_ROWS)
def test_bad_rows(fedtailor, write_job, tmp_path, fault):
    rows, words = BAD_ROWS[fault]
    assert_refused(fedtailor, write_job(rows), words, tmp_path)


def test_unreadable_parquet(fedtailor, write_job, tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not a table")
    job = write_job(GOOD, data={"train": "broken.parquet", "columns": {"input": "question", "target": "answer"}})
    assert_refused(fedtailor, job, "broken.parquet", tmp_path)


def test_not_a_job_file(fedtailor, tmp_path):
    (tmp_path / "job.yaml").write_text("backbone: [")
    assert_refused(fedtailor, tmp_path / "job.yaml", "line 1", tmp_path)


def assert_refused(fedtailor, job, words, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    code, printed, said = fedtailor("run", job, "--out", tmp_path / "out")
    assert code == 2, said
    assert printed == ""
    assert words in said
    assert said.count("\n") == 1
    assert "Traceback" not in said
    assert sorted(tmp_path.rglob("*")) == before
