"""Distillation: whole tiny runs."""

import json

import pandas as pd
import pytest

from fedtailor.job import Job
from fedtailor.running import run

TEXTS = {
    "card": ["my card is lost", "the card was stolen", "block my card", "a new card please", "card does not work"],
    "rate": ["what is the rate", "which exchange rate", "the rate is wrong", "rate for euros", "rate of today"],
    "top": ["top up failed", "how to top up", "top up by cash", "my top up is gone", "top up limits"],
}


def class_rows(copies=6):
    return [{"text": f"{text} {n}", "label": label} for n in range(copies) for label, texts in TEXTS.items() for text in texts]


@pytest.fixture
def class_job(tiny_bert_folder):
    """Return a maker of jobs of 3 clients that name classes; 30 of the 90 rows are public."""

    def make(**changes):
        protocol = {
            "kind": "distillation",
            "public": "rest",
            "local": {"learning_rate": 0.02, "batch_size": 4},
            "align": {"learning_rate": 0.01, "batch_size": 8},
            "distil": {"learning_rate": 0.02, "batch_size": 8},
        }
        job = Job.from_dict(
            {
                "name": "tiny",
                "backbone": str(tiny_bert_folder),
                "task": {"kind": "classification", "labels": list(TEXTS)},
                "data": {"train": "given-in-memory.jsonl", "limit": {"train": 60}},
                "clients": {"count": 3, "min_examples": 4, "validation_share": 0.1, "test_share": 0.1},
                "tuning": {"kind": "lora", "rank": 2, "alpha": 4, "dropout": 0.1},
                "protocol": protocol | changes.pop("protocol", {}),
                "stop": {"rounds": 2, "patience": None, "keep": "last"},
                "precision": "float32",
                "threads": 1,
            }
        )
        for name, value in changes.items():
            job = job.replace(name.replace("__", "."), value)
        return job

    return make


@pytest.fixture
def data():
    rows = class_rows()
    return {"train": rows, "test": [{"text": f"{row['text']} now", "label": row["label"]} for row in rows[:15]]}


def test_it_runs(class_job, data, tmp_path):
    result = run(class_job(), data=data, out=tmp_path / "r")
    print(json.dumps(result.summary, indent=1)[:6000])
    print((tmp_path / "r" / "events.jsonl").read_text())
    print(pd.read_parquet(tmp_path / "r" / "clients.parquet").T)
    print(result.history.T)
