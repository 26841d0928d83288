import json

import pandas as pd
import pytest

from fedtailor.yaml_text import write_yaml


@pytest.fixture
def write_run(tmp_path):
    """Return a maker of hand-made run folders: two clients, two rounds, the first of which was kept."""

    def write(name: str, *, loss: float = 1.5, rank: int = 8, **changes):
        folder = tmp_path / name
        (folder / "generations").mkdir(parents=True)
        after = {"loss": loss, "perplexity": 4.48, "bleu": 40.0}
        summary = {
            "job_name": name,
            "rounds": 2,
            "stopped_by": "patience",
            "best_round": 1,
            "kept": "best",
            "metrics": {"before": {"loss": 3.0, "perplexity": 20.1, "bleu": 5.0}, "after": after},
            "metrics_over": "test set",
            "clients": {
                "before": {"mean": {"loss": 3.1}, "worst": {"loss": 3.5}, "p10": {"loss": 3.4}},
                "mean": {"loss": 1.6},
                "worst": {"loss": 2.25},
                "p10": {"loss": 2.1},
            },
            "traffic": {"up_bytes": 7_400_000, "down_bytes": 999},
            "flops": {"client_total": 2.5e15},
            "memory": {"peak_bytes": 1_250_000_000},
            "seconds": {"total": 312.0, "train": 250.0, "evaluate": 60.0, "exchange": 0.5},
            "trainable_parameters": 460_800,
        }
        (folder / "summary.json").write_text(json.dumps(summary | changes))
        (folder / "job.yaml").write_text(
            write_yaml({"name": name, "base": "/x", "backbone": "tiny", "tuning": {"kind": "lora", "rank": rank}})
        )
        events = [{"event": "failure", "client": "b", "text": "lost: Timeout"}, {"event": "round"}]
        (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
        row = {"examples": 30, "steps": 4, "up_bytes": 1850, "seconds": 61.0}
        pd.DataFrame([{"round": r, "client": c, **row} for r in (1, 2) for c in "ab"]).to_parquet(folder / "clients.parquet")
        traffic = {"up_bytes": 3700, "down_bytes": 500, "seconds": 122.0}
        pd.DataFrame([{"round": r, "train_loss": 2.5 / r, "validation_loss": 1.25 * r, **traffic} for r in (1, 2)]).to_parquet(
            folder / "rounds.parquet"
        )
        figures = [(0, "a", 3.0), (1, "a", 1.25), (2, "a", 9.0), (0, "b", 3.5), (1, "b", 2.25), (2, "b", 9.0)]
        pd.DataFrame(
            [{"round": r, "scope": "client", "client": c, "metric": "loss", "value": v} for r, c, v in figures]
        ).to_parquet(folder / "evaluations.parquet")
        for moment, texts in (("before", ["same", "old"]), ("after", ["same", "new"])):
            rows = [{"input": f"in {i}", "references": [f"ref {i}"], "text": text} for i, text in enumerate(texts)]
            (folder / "generations" / f"{moment}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        return folder

    return write


@pytest.fixture
def printed():
    """Return a renderable as the text that a wide terminal without colours shows."""
    from rich.console import Console

    def render(what) -> str:
        console = Console(width=130, force_terminal=False)
        with console.capture() as captured:
            console.print(what)
        return captured.get()

    return render
