"""Split learning over links near and far: seconds a round, bytes and failures, pipelined or not, against the cost model.

MiniLM on Banking77, cut in the middle, labels with the server; a server and one site in processes of their own, with a relay between them that delays
and slows. The cost model (`fedtailor cut`) gets the speed of this machine as it measures it, the link's rate, and as latency the link's round
trip and what `net_exchange.py` found for an empty exchange. Seconds are those from the end of the first round to the end of the last but one:
nothing is evaluated between.

Usage: net_split.py --data FOLDER [--batches 1 8 32] [--links lan 50ms 200ms] [--steps 8] [--share 1.0]. FOLDER holds banking77/train.parquet.
About 25 minutes on 2 cores.
"""

import argparse
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from netting import Net, write_rows
from relay import through
from timing import write

from fedtailor import Job
from fedtailor.assembly import assemble
from fedtailor.network.command.submit import run_on
from fedtailor.network.command.world import make_world
from fedtailor.protocols.split.planning import Means, Work, cut_costs, measured_flops

SITE, CUT = "site-1", 3
EXCHANGE_S = 0.0053  # an empty one on loopback, both gates and packing in it (net_exchange.py)


@dataclass(frozen=True)
class Link:
    """What lies between the server and the site."""

    round_trip_ms: float
    mbit: float  # each way
    rounds: int  # that are enough to measure: what happens is told twice a second


LINKS = {"lan": Link(0.0, 1000.0, 40), "50ms": Link(50.0, 20.0, 12), "200ms": Link(200.0, 5.0, 6)}


def main() -> None:
    """Measure each cell, and write it beside what is estimated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--links", nargs="+", choices=LINKS, default=list(LINKS))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--share", type=float, default=1.0, help="of the rounds of each link, for a short trial")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="net-split-") as place:
        rows = [row for name in args.links for row in on_link(name, args, Path(place))]
    write("net_split", {"steps": args.steps, "cut": CUT, "rows": rows})


def on_link(name: str, args: argparse.Namespace, place: Path) -> list[dict[str, Any]]:
    """Return a row for each batch size, pipelined and not, over one link."""
    link, rows = LINKS[name], []
    example = split_job(args, place, args.batches[0], link, pipelined=False)
    net = Net(make_world(example, place / f"net-{name}"))
    kit = net.world.folder / SITE
    far = through(kit, round_trip_ms=link.round_trip_ms, mbit=link.mbit) if link.round_trip_ms else nullcontext()
    with far, net.running():
        for batch in args.batches:
            for pipelined in (False, True):
                job = split_job(args, place, batch, link, pipelined=pipelined)
                out = place / f"{name}-{batch}-{pipelined}"
                row = {"link": name, "batch": batch, "pipelined": pipelined, **measured(job, net, out), **estimated(job, link)}
                rows.append(row | {"measured / estimated": row["seconds"] / row["estimated_s"]})
                print(rows[-1], flush=True)
    return rows


def measured(job: Job, net: Net, out: Path) -> dict[str, Any]:
    """Return seconds and bytes of a round over the network, and how many answers failed."""
    ends: list[float] = []
    run_on(job, net.world.folder, out=out, watcher=lambda kind, _: ends.append(time.monotonic()) if kind == "round" else None)
    table = pd.read_parquet(out / "clients.parquet")
    return {
        "seconds": (ends[-2] - ends[0]) / (len(ends) - 2),
        "up_bytes": int(table["up_bytes"].median()),
        "down_bytes": int(table["down_bytes"].median()),
        "failures": int(table["error"].notna().sum()) if "error" in table else 0,
    }


def estimated(job: Job, link: Link) -> dict[str, Any]:
    """Return what the cost model says of a round."""
    parts = assemble(job, warn=lambda text: None)
    (info,), (own,) = parts.sampler.clients, parts.clients.values()
    flops = measured_flops(parts.protocol.terms, own.train)
    work = Work(examples=info.examples, tokens_per_example=float(own.train.sizes_N.float().mean()))
    means = Means(
        client_flops=flops,
        server_flops=flops,
        bandwidth=link.mbit * 1e6 / 8,
        latency_s=link.round_trip_ms / 1000 + EXCHANGE_S,
    )
    cost: Any = cut_costs(parts.protocol.terms, work, means)[CUT]
    return {"estimated_s": cost.seconds, "model_up": cost.up_bytes, "model_down": cost.down_bytes}


def split_job(args: argparse.Namespace, folder: Path, batch: int, link: Link, *, pipelined: bool) -> Job:
    """Write the site's examples, and return the job of one cell."""
    torch.set_num_threads(1)
    rounds = max(4, round(args.share * link.rounds))
    table = pd.read_parquet(args.data.resolve() / "banking77" / "train.parquet")[["text", "label"]].astype(str)
    write_rows(folder / f"{SITE}.jsonl", table.head(400).to_dict("records"))
    protocol = {"kind": "split", "cut": CUT, "labels": "with-server"}
    protocol |= {"pipeline": "weight-stashing"} if pipelined else {}
    return Job.from_dict(
        {
            "name": "net-split",
            "base": str(folder),
            "backbone": "minilm-l6",
            "task": {"kind": "classification", "labels": sorted(table["label"].unique())},
            "data": {"train": [f"{SITE}.jsonl"]},
            "clients": {"partition": "files", "validation_share": 0, "test_share": 0},
            "protocol": {**protocol, "local": {"steps": args.steps, "batch_size": batch, "learning_rate": 1e-3}},
            "evaluation": {"every": rounds},
            "stop": {"rounds": rounds, "patience": None, "keep": "last"},
            "threads": 1,
        }
    )


if __name__ == "__main__":
    main()
