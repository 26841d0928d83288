"""Federated against central training: one exact step, equal sequential steps, equal examples.

Usage: central.py --data FOLDER [--seeds 0 1 2] [--out FOLDER]. FOLDER holds e2e/train.parquet and so on.
Writes OUT/central.json, and prints a line for each run.
"""

import argparse
import json
import tempfile
from pathlib import Path

from safetensors.torch import load_file

from fedtailor import Job, run
from fedtailor.studies.baselines import run_baseline

HERE = Path(__file__).parent
EXACT = {  # (a): one SGD step of each client, weighted by the targets it counts, in float32
    "precision": "float32",
    "clients.count": 4,
    "clients.test_share": 0.0,
    "data.limit": {"train": 160, "validation": 8, "test": 8},
    "protocol.weights": "targets",
    "protocol.local": {"optimizer": "sgd", "learning_rate": 0.1, "steps": 1, "batch_size": 64, "clip_norm": None},
    "stop": {"rounds": 1, "keep": "last"},
    "evaluation.metrics": ["loss"],
}


def main() -> None:
    """Run all comparisons and write what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=HERE / "out")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, object] = {"exact": exact(job_of(args.data, 0))}
    for seed in args.seeds:
        job = job_of(args.data, seed)
        for kind in ("federated", "central-steps", "central"):
            with tempfile.TemporaryDirectory() as folder:
                where = Path(folder) / "run"
                result = run(job, out=where) if kind == "federated" else run_baseline(job, kind, out=where)
                found[f"{kind}, seed {seed}"] = result.summary
                print(kind, seed, json.dumps(result.summary["metrics"]), flush=True)
            (args.out / "central.json").write_text(json.dumps(found, indent=2))


def job_of(data: Path, seed: int) -> Job:
    """Return the job of e2e.yaml on the data in `data`/e2e."""
    files = [f"data.{part}={(data / 'e2e' / part).resolve()}.parquet" for part in ("train", "validation", "test")]
    return Job.load(HERE / "e2e.yaml", [*files, f"seed={seed}"])


def exact(job: Job) -> dict[str, float]:
    """Return the largest difference of any weight after one federated and one central step, and the largest change."""
    for name, value in EXACT.items():
        job = job.replace(name, value)
    with tempfile.TemporaryDirectory() as folder:
        run(job, out=Path(folder) / "f")
        run_baseline(job, "central-steps", out=Path(folder) / "c")
        left, right = (load_file(Path(folder) / name / "adapter" / "adapter_model.safetensors") for name in "fc")
    found = {
        "largest_difference": max(float((left[name] - right[name]).abs().max()) for name in left),
        "largest_lora_B": max(float(left[name].abs().max()) for name in left if "lora_B" in name),
    }
    print("one SGD step of 4 clients against one central step on all:", found, flush=True)
    return found


if __name__ == "__main__":
    main()
