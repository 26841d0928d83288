"""Accuracy against epsilon with a head on frozen features, three silos, each hiding single examples by DP-SGD.

    python benchmarks/dp_curve.py --data DATA/banking77 --out OUT --epsilons 1,3,8,none --seeds 0,1,2

Texts are put through the backbone once for all runs: only the head differs.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fedtailor.job import Job
from fedtailor.running import run
from fedtailor.tuning import head

KEPT: dict[bytes, Tensor] = {}


def main() -> None:
    """Print a line for each epsilon: accuracy and loss over all seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epsilons", default="1,3,8,none")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--learning-rate", type=float, default=0.02)
    args = parser.parse_args()
    _share_features()
    for epsilon in args.epsilons.split(","):
        found = [_run(args, epsilon, int(seed)) for seed in args.seeds.split(",")]
        accuracy = [each["metrics"]["after"]["accuracy"] for each in found]
        spent = [each.get("privacy", {}).get("epsilon") for each in found]
        sys.stdout.write(
            f"epsilon {epsilon}: accuracy {statistics.mean(accuracy):.3f} ({', '.join(f'{each:.3f}' for each in accuracy)}); spent {spent}\n"
        )
        sys.stdout.flush()


def _run(args: argparse.Namespace, epsilon: str, seed: int) -> Any:
    privacy = None if epsilon == "none" else {"kind": "dp-sgd", "epsilon": float(epsilon), "delta": 1e-5, "clip": 1.0}
    job = Job.from_dict(
        {
            "name": f"eps-{epsilon}-{seed}",
            "backbone": "minilm-l6",
            "task": {"kind": "classification", "pooling": "mean", "max_tokens": 64, "labels": str(args.data / "labels.json")},
            "data": {"train": str(args.data / "train.parquet"), "test": str(args.data / "test.parquet")},
            "clients": {"count": 3, "validation_share": 0.0, "test_share": 0.0},
            "tuning": "head",
            "protocol": {"local": {"steps": 8, "batch_size": 256, "learning_rate": args.learning_rate, "privacy": privacy}},
            "stop": {"rounds": args.rounds, "patience": None, "keep": "last"},
            "evaluation": {"every": args.rounds},
            "precision": "float32",
            "threads": 1,
            "seed": seed,
        }
    )
    return run(job, out=args.out / job.name).summary


def _share_features() -> None:
    """Let all runs of this process have one store of features."""
    plain = head._means

    def means(body: Any, forward: Any, ids_ML: Tensor, mask_ML: Tensor) -> list[Tensor]:
        keys = [ids[mask.bool()].numpy().tobytes() for ids, mask in zip(ids_ML, mask_ML, strict=True)]
        missing = [row for row, key in enumerate(keys) if key not in KEPT]
        if missing:
            fresh = plain(body, forward, ids_ML[missing], mask_ML[missing])
            KEPT.update(zip((keys[row] for row in missing), fresh, strict=True))
        return [KEPT[key] for key in keys]

    head._means = means


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
