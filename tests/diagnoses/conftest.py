import json

import pandas as pd
import pytest

from fedtailor.diagnoses.evidence import Evidence
from fedtailor.report import read_run
from fedtailor.yaml_text import write_yaml


@pytest.fixture
def made(tmp_path):
    """Return a maker of hand-made run folders, of which only what a test names is unusual."""
    count = iter(range(1000))

    def make(*, job=None, losses=(4.0, 3.0, 2.5, 2.2, 2.1, 2.0), clients=None, rounds=None, events=(), texts=(), **summary):
        folder = tmp_path / f"run-{next(count)}"
        (folder / "generations").mkdir(parents=True)
        settings = {"name": folder.name, "backbone": "tiny", "tuning": {"kind": "lora", "rank": 8}}
        settings |= {"protocol": {"kind": "averaging", "local": {"learning_rate": 0.003, "epochs": 1, "batch_size": 8}}}
        (folder / "job.yaml").write_text(write_yaml(settings | (job or {})))
        start, *later = losses
        table = {"round": range(1, len(later) + 1), "validation_loss": later, "train_loss": later}
        pd.DataFrame(table | (rounds or {})).to_parquet(folder / "rounds.parquet")
        own = [
            {"round": r, "client": c, "examples": 100, "steps": 13, "first_loss": loss + 0.1, "last_loss": loss, "seconds": 5.0}
            | {"exchange_seconds": 0.1}
            for r, loss in enumerate(later, start=1)
            for c in "abcd"
        ]
        pd.DataFrame(own).assign(**(clients or {})).to_parquet(folder / "clients.parquet")
        (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        for moment in ("before", "after"):
            lines = [{"input": str(i), "references": [wanted], "text": text} for i, (wanted, text) in enumerate(texts)]
            (folder / "generations" / f"{moment}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        known = {
            "job_name": folder.name,
            "metrics": {"before": {"loss": start}, "after": {"loss": later[-1]}},
            "validation_loss": {"before": start},
            "data": {"divergence": 0.6},
            "traffic": {"by_kind": {}},
        }
        (folder / "summary.json").write_text(json.dumps(known | summary))
        return Evidence(read_run(folder))

    return make
