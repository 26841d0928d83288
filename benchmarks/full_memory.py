"""What full tuning holds in memory, phase by phase, against what it needs.

    python benchmarks/full_memory.py [--optimizer sgd adamw] [--clients 2 4 8]

Full tuning of SmolLM2-135M in float32, one round of one step on short examples, through the same gate and engine as a run, in a process of its
own for each line. What it may hold, in copies of the weights: the shared weights at the server (the base of a round), one working copy that
every client trains in turn, its gradients and the optimizer's moments, one sum of updates; besides the largest tensor while it is encoded,
and what one step of training takes for itself (activations, the two gradients of tied embeddings), which is measured alone before the round.
Figures are the kernel's peaks of resident memory in a phase, less the program: what is resident after loading, less the weights.
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path

from fedtailor.learning.training import one_by_one
from fedtailor.ledger import PeakMemory

MOMENTS = {"sgd": 0, "adamw": 2}


def main() -> None:
    """Measure each number of clients in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizer", nargs="+", default=["sgd", "adamw"], choices=sorted(MOMENTS))
    parser.add_argument("--clients", nargs="+", type=int, default=[2, 4, 8])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        optimizer, count = asked.one.split(":")
        print(json.dumps(measure(optimizer, int(count))))
        return
    for optimizer in asked.optimizer:
        for count in asked.clients:
            command = [sys.executable, str(Path(__file__)), "--one", f"{optimizer}:{count}"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            tell(optimizer, count, json.loads(done.stdout.splitlines()[-1]))


def tell(optimizer: str, count: int, found: dict[str, float]) -> None:
    """Print one line of phases, in MB and in copies of the weights."""
    weights = found["weights"]
    copies = 4 + MOMENTS[optimizer]  # shared, working copy, gradients, moments, sum
    allowed = copies * weights + found["largest"] + found["step"]
    print(f"{optimizer}, {count} clients: weights {weights / 1e6:.0f} MB, largest tensor {found['largest'] / 1e6:.0f} MB")
    for phase in ("down", "training", "up", "round"):
        print(f"  {phase:9} peak {found[phase] / 1e6:6.0f} MB = {found[phase] / weights:.2f} copies")
    print(
        f"  accounting: {copies} copies, the largest tensor, and {found['step'] / 1e6:.0f} MB of a step = {allowed / 1e6:.0f} MB"
    )
    print(f"  the program besides: {found['program'] / 1e6:.0f} MB", flush=True)


def measure(optimizer: str, count: int) -> dict[str, float]:
    """Return the peak bytes of each phase of one round, above what was resident before the model came."""
    import psutil
    import torch

    from fedtailor.assembly import assemble
    from fedtailor.federation import LocalFederation
    from fedtailor.job import Job
    from fedtailor.protection import Gate
    from fedtailor.tensors import size_bytes

    ctypes.CDLL("libc.so.6").mallopt(-3, 2**16)  # M_MMAP_THRESHOLD: what is let go goes back to the system at once
    rows = [{"input": f"double {n}", "target": f"{n} and {n} is {2 * n}", "owner": f"{n % count:03d}"} for n in range(2 * count)]
    local = {"steps": 1, "batch_size": 2, "optimizer": optimizer, "learning_rate": 1e-4}
    job = Job.from_dict(
        {
            "name": "full-memory",
            "backbone": "smollm2-135m",
            "task": {"kind": "generation"},
            "data": {"train": "given-in-memory"},
            "clients": {
                "partition": {"kind": "natural", "by": "owner"},
                "min_examples": 1,
                "test_share": 0,
                "validation_share": 0,
            },
            "tuning": {"kind": "full"},
            "protocol": {"local": local},
            "precision": "float32",
        }
    )
    parts = assemble(job, given=rows)
    weights = size_bytes(parts.worker.params)
    meter = PeakMemory(torch.device("cpu"))
    step = _step_alone(parts, meter) - weights  # its gradients are in the accounting
    gc.collect()
    program = psutil.Process().memory_info().rss - weights
    state = parts.protocol.start(parts.worker)
    phases = {"down": 0.0, "training": 0.0, "up": 0.0}
    meter.reset()

    def note(phase: str) -> None:
        phases[phase] = max(phases.get(phase, 0.0), float(meter.read()))
        meter.reset()

    class Noting:
        """A client half that tells the peaks before, in and after its work; the half itself resets the peak when it starts."""

        def __init__(self, half) -> None:
            self.half = half

        def answer(self, message):
            note("down" if not phases["training"] else "up")  # what came before: the first request, or an answer and the next
            answer = one_by_one(self.half.answer(message))
            note("training")
            return answer

    halves = {client: Noting(parts.protocol.client(each)) for client, each in parts.clients.items()}
    federation = LocalFederation(halves, parts.sampler.clients, Gate(manifest=parts.manifest), lambda client, fault: print(fault))
    round = next(parts.protocol.serve(federation, state, parts.sampler, rounds=1, worker=parts.worker))
    assert len(round.clients) == count
    assert not round.failures
    note("round")
    found = {phase: peak - program for phase, peak in phases.items()}
    largest = max(t.nbytes for t in state.shared.values())
    return found | {"weights": weights, "largest": largest, "step": step, "program": program}


def _step_alone(parts, meter) -> int:
    """Return the peak bytes that forward and backward pass of one batch add to what is resident, gradients included.

    The second of two: the first also loads code and threads.
    """
    import psutil

    worker, shard = parts.worker, next(iter(parts.clients.values())).train
    for _ in range(2):
        gc.collect()
        before = psutil.Process().memory_info().rss
        meter.reset()
        worker.loss(worker.batch(shard, list(range(len(shard)))))[0].backward()
        added = meter.read() - before
        worker.model.zero_grad(set_to_none=True)
    return added


if __name__ == "__main__":
    main()
