"""What a step of DP-SGD costs beside a plain one: medians of pairs of steps on one batch, taken in turn.

python benchmarks/dp_sgd.py --backbone smollm2-135m --tunings lora,prefix,prompt,full
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from fedtailor.assembly import assemble
from fedtailor.job import Job
from fedtailor.learning.training import train_locally
from fedtailor.learning.work import Training
from fedtailor.tensors import clone


def main() -> None:
    """Print a line for each tuning."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="smollm2-135m")
    parser.add_argument("--tunings", default="lora,prefix,prompt,full")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", default="float32")
    args = parser.parse_args()
    rows = [
        {
            "input": f"name[The {n}], food[{f}], area[{a}]",
            "target": f"The {n} by the {a} serves {f} food at a fair price all day.",
        }
        for n in ("Eagle", "Mill", "Vaults", "Punter")
        for f in ("French", "Indian", "Chinese", "English")
        for a in ("river", "park")
    ]
    for tuning in args.tunings.split(","):
        plain, private = (_seconds(args, tuning, rows, private=private) for private in (False, True))
        ratio = statistics.median(two / one for one, two in zip(plain, private, strict=True))
        sys.stdout.write(
            f"{tuning}: plain {statistics.median(plain):.3f} s, DP-SGD {statistics.median(private):.3f} s a step of {args.batch}, ratio {ratio:.2f}\n"
        )


def _seconds(args: argparse.Namespace, tuning: str, rows: list[dict[str, str]], *, private: bool) -> list[float]:
    """Return the seconds of each step, noise and optimizer included; every step takes the whole of a client of one batch."""
    privacy = {"kind": "dp-sgd", "noise_multiplier": 1.0, "epsilon": None, "delta": 0.01} if private else None
    job = Job.from_dict(
        {
            "backbone": args.backbone,
            "task": {"kind": "generation"},
            "data": {"train": "given.jsonl"},
            "clients": {"count": len(rows) // args.batch, "min_examples": 1, "validation_share": 0.0, "test_share": 0.0},
            "tuning": {"kind": tuning},
            "protocol": {"local": {"batch_size": args.batch, "steps": 1, "privacy": privacy}},
            "precision": args.precision,
            "threads": 1,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        parts = assemble(job, given=rows, clients_folder=Path(folder))
    client = next(iter(parts.clients))
    state, start, found = parts.clients[client], clone(parts.worker.tensors()), []
    for number in range(args.pairs + 1):
        parts.worker.load(start)
        began = time.process_time()
        train_locally(
            Training(
                worker=parts.worker,
                shard=state.train,
                settings=parts.protocol.local,
                round=number + 1,
                client=client,
                private=state.private,
            )
        )
        found.append(time.process_time() - began)
    return found[1:]  # the first one warms up


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
