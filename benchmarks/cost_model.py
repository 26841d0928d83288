"""Bytes that the cost model prints before a run, against those that the run's ledger counts.

Usage: cost_model.py --data DATA [--only TEXT ...]. DATA holds banking77/ and e2e/. Every row of the table is a small real job (3 clients, 2 rounds;
MiniLM on Banking77, SmolLM2 on E2E): what `fedtailor check` estimates for training, all clients and rounds together, beside the run's summary. Writes
benchmarks/out/cost_model.csv. About 3 minutes on one quiet core.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from timing import OUT

from fedtailor import Job
from fedtailor.assembly import assemble, estimate
from fedtailor.running import carry_out

LOCAL = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
LORA = {"kind": "lora", "rank": 8, "alpha": 16}
LAST_BLOCKS = [f"model.layers.{block}.self_attn.{part}_proj" for block in (28, 29) for part in "qv"]
AVERAGED = {"kind": "averaging"}
DISTILLED = {"kind": "distillation", "public": "rest", "public_limit": 60}
CUT = {"kind": "split", "cut": 3}
INT8 = {"kind": "int8"}

CLASSES: dict[str, dict[str, Any]] = {  # jobs on Banking77: name: what they change
    "averaging, LoRA r 8": {},
    "averaging, LoRA r 2": {"tuning": {"kind": "lora", "rank": 2, "alpha": 4}},
    "averaging, LoRA r 8, bfloat16": {"protocol": {**AVERAGED, "wire": "bfloat16"}},
    "averaging, FFA-LoRA": {"protocol": {**AVERAGED, "aggregation": "ffa-lora"}},
    "averaging, SCAFFOLD": {"protocol": {**AVERAGED, "aggregation": "scaffold", "local": {**LOCAL, "optimizer": "sgd"}}},
    "averaging, adapters": {"tuning": {"kind": "adapter"}},
    "averaging, prompt": {"tuning": {"kind": "prompt"}},
    "averaging, full": {"tuning": {"kind": "full"}},
    "distillation, float32": {"protocol": {**DISTILLED, "wire": "float32"}},
    "distillation, float16": {"protocol": {**DISTILLED, "wire": "float16"}},
    "distillation, int8": {"protocol": {**DISTILLED, "wire": "int8"}},
    "distillation, float16, top 8": {"protocol": {**DISTILLED, "top_k": 8}},
    "distillation, half a round": {"protocol": {**DISTILLED, "slice": 0.5}},
    "distillation, label counts, refined": {
        "protocol": {
            **DISTILLED,
            "slice": 0.5,
            "label_counts": True,
            "label_epsilon": 1.0,
            "refine": "label-statistics",
            "refine_every": 2,
        }
    },
    "distillation, ensemble": {"protocol": {**DISTILLED, "aggregation": {"kind": "ensemble"}}},
    **{
        f"split {labels}, {wire}": {"protocol": {**CUT, "labels": labels, "wire": {"kind": wire}}}
        for labels in ("with-server", "u-shaped")
        for wire in ("float32", "bfloat16", "int8", "int4", "top-channels")
    },
    "split with-server, int8, pipelined": {
        "protocol": {**CUT, "labels": "with-server", "wire": INT8, "pipeline": "weight-stashing"}
    },
    "split u-shaped, int8, batches of 1": {"protocol": {**CUT, "wire": INT8, "local": {**LOCAL, "batch_size": 1}}},
}
TEXTS: dict[str, dict[str, Any]] = {  # jobs on E2E
    "distillation, float16, top 32": {"protocol": {**DISTILLED, "top_k": 32}},
    "split with-server, int8": {"protocol": {**CUT, "cut": 10, "labels": "with-server", "wire": INT8}},
    "split u-shaped, int8, reuse": {
        "tuning": {**LORA, "targets": LAST_BLOCKS},
        "protocol": {**CUT, "cut": 10, "wire": INT8, "reuse": True},
    },
}


def main() -> None:
    """Run every job and print the table and the greatest difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=[""], help="jobs whose names hold one of these texts")
    args = parser.parse_args()
    data = args.data.resolve()
    jobs = [(f"Banking77, {name}", classes(data, changes)) for name, changes in CLASSES.items()]
    jobs += [(f"E2E, {name}", texts(data, changes)) for name, changes in TEXTS.items()]
    rows = []
    OUT.mkdir(exist_ok=True)
    for name, job in jobs:
        if any(text in name for text in args.only):
            rows.append({"job": name, **compared(job)})
            print(rows[-1], flush=True)
            pd.DataFrame(rows).to_csv(OUT / "cost_model.csv", index=False)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    for way in ("up", "down"):
        worst = table.loc[table[f"{way} %"].abs().idxmax()]
        print(f"greatest difference {way}: {worst[f'{way} %']:+.2f} %, {worst['job']}")


def compared(job: Job) -> dict[str, float]:
    """Return the bytes of training that are estimated and those that the run's ledger has, and by how many % the former are off."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        parts = assemble(job, clients_folder=path / "clients", warn=lambda text: None)
        costs = estimate(parts).values()
        measured = carry_out(parts, path).summary["traffic"]["by_kind"]["train"]
    found: dict[str, float] = {}
    for way in ("up", "down"):
        expected, real = job.stop.rounds * sum(getattr(cost, f"{way}_bytes") for cost in costs), measured[f"{way}_bytes"]
        found |= {f"{way} estimated": expected, f"{way} measured": real, f"{way} %": round(100 * (expected / real - 1), 2)}
    return found


def classes(data: Path, changes: Mapping[str, Any]) -> Job:
    """Return a job on Banking77."""
    home = data / "banking77"
    return changed(
        {
            "name": "cost-model",
            "backbone": "minilm-l6",
            "task": {"kind": "classification", "max_tokens": 48, "labels": str(home / "labels.json")},
            "data": {
                "train": str(home / "train.parquet"),
                "test": str(home / "test.parquet"),
                "limit": {"train": 48, "test": 8},
            },
            "evaluation": {"every": 1000, "metrics": ["loss"]},
        },
        changes,
    )


def texts(data: Path, changes: Mapping[str, Any]) -> Job:
    """Return a job on E2E."""
    home = data / "e2e"
    return changed(
        {
            "name": "cost-model-texts",
            "backbone": "smollm2-135m",
            "task": {"kind": "generation", "max_tokens": 128},
            "data": {
                "train": str(home / "train.parquet"),
                "test": str(home / "test.parquet"),
                "limit": {"train": 6, "test": 1},
            },
            "evaluation": {"every": 1000, "metrics": ["loss"], "generate": {"max_new_tokens": 1}},
        },
        {name: {**value, "public_limit": 4} if "public" in value else value for name, value in changes.items()},
    )


def changed(settings: dict[str, Any], changes: Mapping[str, Any]) -> Job:
    """Return the job with what all share and with its changes."""
    protocol = {"local": LOCAL, **changes.get("protocol", AVERAGED)}
    return Job.from_dict(
        {
            **settings,
            "clients": {"count": 3, "partition": {"kind": "iid"}, "validation_share": 0.0, "test_share": 0.0, "min_examples": 1},
            "tuning": LORA,
            "stop": {"rounds": 2, "patience": None, "keep": "last"},
            "threads": 1,
            **changes,
            "protocol": protocol,
        }
    )


if __name__ == "__main__":
    main()
