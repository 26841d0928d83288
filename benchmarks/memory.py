"""Resident memory at the end of a round, with few and with many clients that each keep a megabyte of their own.

Each client keeps the two moments of its optimizer for a LoRA of rank 2 on SmolLM2: 115,200 weights, 0.92 MB, in 360 tensors.
They are held in memory, which is the harder case; with --folder they are on disk, as in every run. From the second round on,
each client keeps those of the round before too, so that a round can be tried again: --rounds 2 shows what that takes.
Each count has a process of its own.

Usage: memory.py [--clients 4 400] [--rounds 1] [--folder]. About 5 minutes a round on 2 cores.
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
from timing import write

COUNTS = (4, 400)


def main() -> None:
    """Measure each count in a process of its own and write how memory grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", action="store_true", help="let each client keep its tensors in a folder of its own")
    parser.add_argument("--one", type=int, help="measure this many clients in this process and print the figures")
    args = parser.parse_args()
    if args.one:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(args.one, args.rounds, Path(folder) if args.folder else None)))
        return
    more = ["--rounds", str(args.rounds), *(["--folder"] if args.folder else [])]
    told = {}
    for count in args.clients:
        command = [sys.executable, __file__, "--one", str(count), *more]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        told[count] = json.loads(done.stdout.splitlines()[-1])
        print(count, told[count], flush=True)
    few, many = told[min(told)], told[max(told)]
    kept = many["kept_bytes"] - few["kept_bytes"]
    growth = {name: (many[name] - few[name]) / kept for name in ("resident_bytes", "resident_trimmed_bytes")}
    where = "folder" if args.folder else "memory"
    name = "memory" if (where, args.rounds) == ("memory", 1) else f"memory-{where}-{args.rounds}"
    write(name, {"clients": told, "growth / kept": growth, "rounds": args.rounds, "kept in": where})


def measure(count: int, rounds: int, folder: Path | None) -> dict[str, int]:
    """Return resident bytes at the end of the last of so many rounds of `count` clients, and the bytes of what they kept last."""
    from fedtailor import Job
    from fedtailor.assembly import assemble
    from fedtailor.federation import LocalFederation
    from fedtailor.protection import Gate
    from fedtailor.tensors import size_bytes

    rows = [{"input": f"double {n}", "target": f"{n} and {n} is {2 * n}", "owner": f"{n % count:03d}"} for n in range(2 * count)]
    job = Job.from_dict(
        {
            "name": "memory",
            "backbone": "smollm2-135m",
            "task": {"kind": "generation"},
            "data": {"train": "given-in-memory"},
            "clients": {
                "partition": {"kind": "natural", "by": "owner"},
                "min_examples": 1,
                "test_share": 0,
                "validation_share": 0,
            },
            "tuning": {"kind": "lora", "rank": 2, "alpha": 4},
            "protocol": {"local": {"steps": 1, "batch_size": 2, "keep_optimizer": True}},
        }
    )
    parts = assemble(job, given=rows, clients_folder=folder)
    assert len(parts.clients) == count
    halves = {client: parts.protocol.client(own) for client, own in parts.clients.items()}
    federation = LocalFederation(halves, parts.sampler.clients, Gate(manifest=parts.manifest), lambda client, fault: None)
    served = parts.protocol.serve(federation, parts.protocol.start(parts.worker), parts.sampler, rounds=rounds)
    for _ in range(rounds):
        round = next(served)
        assert len(round.clients) == count
        assert not round.failures
    kept = count * size_bytes(next(iter(parts.clients.values())).store.recall(rounds))  # all keep the same shapes
    gc.collect()
    resident = psutil.Process().memory_info().rss
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return {"kept_bytes": kept, "resident_bytes": resident, "resident_trimmed_bytes": psutil.Process().memory_info().rss}


if __name__ == "__main__":
    main()
