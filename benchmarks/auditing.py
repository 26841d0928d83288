"""What `fedtailor audit` finds of real models, with and without protection: membership, canaries and words.

lora: SmolLM2 with LoRA of rank 8 on E2E, 4 clients of 10 training rows and 20 others each, 4 rounds of 5 AdamW steps of 4 rows (8 passes). head: a softmax layer on
MiniLM's vectors of Banking77, 2 clients of 500 rows and 500 others each, 20 rounds of 20 AdamW steps of 64 rows. With dp, steps are those of DP-SGD at epsilon 8 for single examples; with sign and int4,
updates are sent in that code.

Usage: auditing.py --data DATA [--tunings lora head] [--protections none dp] [--only membership words] [--seeds 0 1 2]. DATA holds e2e/ and banking77/. About 3 minutes of one core for a run of lora without canaries, 1 for one of head.
"""

import argparse
import shutil
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
from timing import write

from fedtailor.audit import audit
from fedtailor.job import Job
from fedtailor.running import run

DP = {"kind": "dp-sgd", "unit": "example", "epsilon": 8, "delta": 1e-3, "clip": 1.0}
CODES = ("sign", "int4")
COMMON: dict[str, Any] = {
    "data": {"train": "given-in-memory.jsonl"},
    "evaluation": {"metrics": ["loss"]},
    "threads": 1,
}
JOBS: dict[str, dict[str, Any]] = {
    "lora": {
        "backbone": "smollm2-135m",
        "task": {"kind": "generation"},
        "clients": {"count": 4, "min_examples": 4, "validation_share": 0.0, "test_share": 2 / 3},
        "tuning": {"kind": "lora", "rank": 8},
        "protocol": {"local": {"steps": 5, "batch_size": 4, "learning_rate": 3e-3}},
        "stop": {"rounds": 4, "patience": None, "keep": "last"},
    },
    "head": {
        "backbone": "minilm-l6",
        "task": {"kind": "classification", "pooling": "mean"},
        "clients": {"count": 2, "min_examples": 8, "validation_share": 0.0, "test_share": 0.5},
        "tuning": {"kind": "head"},
        "protocol": {"local": {"steps": 20, "batch_size": 64, "learning_rate": 0.02}},
        "stop": {"rounds": 20, "patience": None, "keep": "last"},
    },
}
ROWS = {"lora": ("e2e", 120), "head": ("banking77", 2_000)}


def main() -> None:
    """Run and audit every job with every seed, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tunings", nargs="+", default=list(JOBS))
    parser.add_argument("--protections", nargs="+", default=["none", "dp"], choices=["none", "dp", *CODES])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--only", nargs="+", default=[], help="attacks; words is of the weights before round 1, and needs but --rounds 1"
    )
    parser.add_argument("--rounds", type=int, help="in the place of the job's own")
    args = parser.parse_args()
    found: dict[str, list[list[float]]] = defaultdict(list)
    for tuning in args.tunings:
        for protection in args.protections:
            for seed in args.seeds:
                for name, value, floor in _attacked(args, tuning, protection, seed):
                    found[f"{tuning}, {protection}: {name}"].append([value, floor])
                    print(tuning, protection, seed, name, f"{value:.3f} (chance {floor:.3f})", flush=True)
    for name, pairs in found.items():
        values, floors = zip(*pairs, strict=True)
        print(
            f"{name}: {statistics.mean(values):.3f} ({', '.join(f'{value:.3f}' for value in values)}), chance {statistics.mean(floors):.3f}"
        )
    write("auditing", {"seeds": args.seeds, "found": dict(found)})


def _attacked(args: argparse.Namespace, tuning: str, protection: str, seed: int) -> list[tuple[str, float, float]]:
    """Return the loss after a run, and each figure of its audit beside what chance gives."""
    settings = {**COMMON, **JOBS[tuning], "seed": seed}
    local = {**settings["protocol"]["local"], "privacy": DP if protection == "dp" else None}
    coded = [{"kind": "codec", "code": protection}] if protection in CODES else []
    stop = {**settings["stop"], **({"rounds": args.rounds} if args.rounds else {})}
    job = Job.from_dict({**settings, "stop": stop, "protocol": {"local": local, "weights": "uniform"}, "protection": coded})
    folder = Path(tempfile.mkdtemp())
    try:
        file = folder / "rows.parquet"  # since an audit reads the data again
        pd.DataFrame(_rows(args.data, *ROWS[tuning], seed)).to_parquet(file)
        done = run(job.replace("data.train", str(file)), out=folder / "r")
        after = done.summary["metrics"]["after"]["loss"]
        before = done.summary["metrics"]["before"]["loss"]
        findings, _ = audit(folder / "r", only=args.only)
        return [
            ("loss", after, before),
            *((f"{each.attack}, {each.target}, {each.figure}", each.value, each.floor) for each in findings),
        ]
    finally:
        shutil.rmtree(folder)


def _rows(data: Path, name: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Return so many rows, none of whose inputs comes twice."""
    table = pd.read_parquet(data / name / "train.parquet")
    if name == "e2e":
        table = table.drop_duplicates("input")[["input", "target"]]
    else:
        table = table[["text", "label"]].assign(label=lambda t: t["label"].map(lambda n: f"intent-{n:02}"))
    chosen = table.sample(count, random_state=seed).to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in chosen]


if __name__ == "__main__":
    main()
