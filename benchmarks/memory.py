"""Resident memory at the end of a round, with few and with many clients that each keep a megabyte of their own.

Each client keeps the two moments of its optimizer for a LoRA of rank 2 on SmolLM2: 115,200 weights, 0.92 MB. They are
held in memory, which is the harder case: a run with a folder keeps them on disk. Each count has a process of its own.

Usage: memory.py [--clients 4 400]. About 5 minutes on 2 cores.
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys

import psutil
from timing import write

COUNTS = (4, 400)


def main() -> None:
    """Measure each count in a process of its own and write how memory grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--one", type=int, help="measure this many clients in this process and print the figures")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one)))
        return
    told = {}
    for count in args.clients:
        done = subprocess.run([sys.executable, __file__, "--one", str(count)], capture_output=True, text=True, check=True)
        told[count] = json.loads(done.stdout.splitlines()[-1])
        print(count, told[count], flush=True)
    few, many = told[min(told)], told[max(told)]
    kept = many["kept_bytes"] - few["kept_bytes"]
    growth = {name: (many[name] - few[name]) / kept for name in ("resident_bytes", "resident_trimmed_bytes")}
    write("memory", {"clients": told, "growth / kept": growth})


def measure(count: int) -> dict[str, int]:
    """Return resident bytes after one round of `count` clients, and the bytes they keep."""
    from fedtailor import Job
    from fedtailor.assemble import assemble
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
    parts = assemble(job, given=rows)
    assert len(parts.states) == count
    halves = {client: parts.protocol.client(parts.worker, state) for client, state in parts.states.items()}
    federation = LocalFederation(halves, parts.sampler.clients, Gate(manifest=parts.manifest), lambda client, fault: None)
    round = next(parts.protocol.serve(federation, parts.protocol.start(parts.worker), parts.sampler, rounds=1))
    assert len(round.clients) == count
    assert not round.failures
    kept = sum(size_bytes(state.recall(1)) for state in parts.states.values())
    gc.collect()
    resident = psutil.Process().memory_info().rss
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return {"kept_bytes": kept, "resident_bytes": resident, "resident_trimmed_bytes": psutil.Process().memory_info().rss}


if __name__ == "__main__":
    main()
