"""LoRA on SmolLM2 with two sites over a network, against the same job in one process.

One thread a process in both. One site is asked a round, so that sites take turns and both sides do the same work one after the other. Times are
those of the rounds and evaluations (`seconds` of the summary); handing the job in, starting its processes and opening it at the sites are
shown apart, as is what a local run takes to assemble its parts. Both must end with the same bits.

Usage: net_lora.py --data FOLDER [--pairs 3] [--rounds 4] [--steps 10]. FOLDER holds e2e/train.parquet. About 4 minutes a pair on 2 cores.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from netting import SITES, adapter, network, same_files, write_rows
from timing import alternate, ratio, write

from fedtailor import Job, run
from fedtailor.network.command.submit import run_on
from fedtailor.running import Result


def main() -> None:
    """Run both in turn and write the ratio of their times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="net-lora-") as place:
        folder = Path(place)
        job = lora_job(args.data / "e2e" / "train.parquet", folder, args.rounds, args.steps)
        with network(job, folder / "net") as net:
            sides = {
                "network": Side(lambda out: run_on(job, net.world.folder, out=out), folder / "network"),
                "local": Side(lambda out: run(job, out=out), folder / "local"),
            }
            seconds = alternate(sides, args.pairs)
    if not same_files(sides["network"].adapter, sides["local"].adapter):
        raise SystemExit("the adapters differ")
    write(
        "net_lora",
        {
            "network / local": ratio(seconds["network"], seconds["local"]),
            "seconds": seconds,
            "before the first round, median s": {name: statistics.median(side.before) for name, side in sides.items()},
            **vars(args) | {"data": args.data.name},
        },
    )


class Side:
    """One way to carry the job out; called once a pair."""

    def __init__(self, carry_out: Callable[[Path], Result], folder: Path) -> None:
        """Take what carries the job out into a folder, and where these folders go."""
        self._carry_out, self._folder = carry_out, folder
        self.before: list[float] = []  # seconds before the first round
        self.adapter: dict[str, Any] = {}

    def __call__(self, pair: int) -> float:
        """Return the seconds of rounds and evaluations."""
        began = time.perf_counter()
        done = self._carry_out(self._folder.with_name(f"{self._folder.name}-{pair}"))
        seconds = float(done.summary["seconds"]["total"])
        self.before.append(time.perf_counter() - began - seconds)
        self.adapter = adapter(done.folder)
        return seconds


def lora_job(rows: Path, folder: Path, rounds: int, steps: int) -> Job:
    """Write each site's examples, and return a job that asks one of them a round.

    An input is at one site alone: a local run keeps an input on one side (training or validation) at all clients, which sites cannot know.
    """
    table = pd.read_parquet(rows)[["input", "target"]].head(400).astype(str)
    owners = pd.factorize(table["input"])[0] % len(SITES)
    for number, site in enumerate(SITES):
        write_rows(folder / f"{site}.jsonl", table[owners == number].to_dict("records"))
    return Job.from_dict(
        {
            "name": "net-lora",
            "base": str(folder),
            "backbone": "smollm2-135m",
            "task": {"kind": "generation"},
            "data": {"train": [f"{site}.jsonl" for site in SITES]},
            "clients": {"partition": "files", "per_round": 1, "validation_share": 0.1, "test_share": 0},
            "protocol": {"local": {"steps": steps, "batch_size": 8, "learning_rate": 1e-3}},
            "evaluation": {"every": rounds, "metrics": ["loss"]},
            "stop": {"rounds": rounds, "patience": None, "keep": "last"},
            "threads": 1,
        }
    )


if __name__ == "__main__":
    main()
