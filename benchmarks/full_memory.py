"""Memory of full tuning with four clients, in a process of its own.

Usage: full_memory.py --data FOLDER [--clients 1 4] [--out FOLDER]. FOLDER holds ptb/train.parquet. SmolLM2-135M in float32, one round of one
short step a client. Memory is the most that the process was resident, less what it was after imports, read every 5 ms (a run resets the
kernel's own mark for each client); beside it stands what the pieces come to: base, working copy, gradients, optimizer, one sum and
the largest tensor. It must not grow with clients.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).parent
JOB = {
    "backbone": "smollm2-135m",
    "task": {"kind": "language-modeling", "block": 16},
    "tuning": {"kind": "full"},
    "protocol": {"kind": "averaging", "local": {"steps": 1, "batch_size": 1, "learning_rate": 1e-5}},
    "evaluation": {"every": 1000, "metrics": ["loss"], "batch_size": 4},
    "stop": {"rounds": 1, "patience": None, "keep": "last"},
    "precision": "float32",
}


def main() -> None:
    """Measure each count of clients in a new process, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--out", type=Path, default=HERE / "out")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.data, args.measure)))
        return
    found = {}
    for clients in args.clients:
        command = [sys.executable, __file__, "--data", str(args.data), "--measure", str(clients)]
        found[clients] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        print(f"{clients} clients:", json.dumps(found[clients]), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "full_memory.json").write_text(json.dumps(found, indent=2))


class Watch:
    """Reads the process's high-water mark over and over, in a thread."""

    def __enter__(self) -> "Watch":
        self.before = self.most = resident()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self.most = max(self.most, resident("VmHWM"))


def resident(field: str = "VmRSS") -> int:
    """Return a field of the process's status, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def measure(data: Path, clients: int) -> dict[str, float]:
    """Return the peak of one run in this process, and what its pieces come to, in MB."""
    from safetensors import safe_open

    from fedtailor import Job, run

    ptb = {part: str((data / "ptb" / f"{part}.parquet").resolve()) for part in ("train", "test")}
    shared = {"count": clients, "min_examples": 1, "validation_share": 0.0, "test_share": 0.0}
    job = Job.from_dict(JOB | {"data": {**ptb, "limit": {"train": 4 * clients, "test": 2}}, "clients": shared}, base=Path.cwd())
    with tempfile.TemporaryDirectory() as folder:
        with Watch() as watch:
            run(job, out=Path(folder) / "run")
        peak = watch.most - watch.before
        sizes = []
        for file in (Path(folder) / "run" / "model").glob("*.safetensors"):
            with safe_open(file, "pt") as opened:
                sizes += [opened.get_tensor(name).numel() * 4 for name in opened.keys()]  # noqa: SIM118 (no mapping)
    model, largest = sum(sizes), max(sizes)
    pieces = {"base": 1, "working copy": 1, "gradients": 1, "optimizer": 2, "sum": 1}
    expected = model * sum(pieces.values()) + largest
    return {
        "clients": clients, "model_MB": model / 1e6, "largest_tensor_MB": largest / 1e6, "peak_MB": peak / 1e6,
        "pieces_MB": expected / 1e6, "peak_in_models": peak / model, "pieces_in_models": expected / model,
    }  # fmt: skip


if __name__ == "__main__":
    main()
