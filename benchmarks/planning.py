"""The plan of a run against the run: bytes of every kind, operations, peak memory, seconds.

Usage: planning.py --data DATA [--only TEXT ...] [--summarize]. DATA holds banking77/ and e2e/. Twelve small real jobs of 3 clients: three protocols with LoRA, Fed-SB and
adapters on SmolLM2 (E2E) and with full fine-tuning on MiniLM (Banking77); pairs that are refused are named. Each runs in a process of its own, as a user's run does, and
its summary sets measured beside estimated; then once more inside torch's FlopCounterMode, which counts what it computes. Adds a line a job to
benchmarks/out/planning.jsonl; --summarize prints the table of ratios measured / estimated.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timing import OUT
from torch.utils.flop_counter import FlopCounterMode

from fedtailor import Job
from fedtailor.assembly import assemble
from fedtailor.errors import JobError
from fedtailor.running import carry_out, run

LOCAL = {"steps": 2, "batch_size": 4}
TUNINGS: Mapping[str, Mapping[str, Any]] = {
    "LoRA": {"kind": "lora", "rank": 8, "alpha": 16},
    "Fed-SB": {"kind": "fed-sb", "rank": 16},
    "adapter": {"kind": "adapter"},
    "full": {"kind": "full"},
}
PROTOCOLS: Mapping[str, Mapping[str, Any]] = {
    "averaging": {"kind": "averaging", "local": LOCAL},
    "distillation": {"kind": "distillation", "public": "rest", "public_limit": 12, "local": LOCAL},
    "split": {"kind": "split", "cut": 3, "local": LOCAL},
}
FILE = OUT / "planning.jsonl"


def main() -> None:
    """Carry out the jobs that are asked for, or print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", nargs="+", default=[""], help="jobs whose names hold one of these texts")
    parser.add_argument("--one", nargs=2, metavar=("PROTOCOL", "TUNING"), help="carry one job out in this process")
    parser.add_argument("--summarize", action="store_true")
    args = parser.parse_args()
    if args.summarize:
        summarize()
        return
    OUT.mkdir(exist_ok=True)
    if args.one:
        line = json.dumps(compared(*args.one, args.data.resolve()))
        with FILE.open("a") as file:
            file.write(line + "\n")
        return
    for protocol in PROTOCOLS:
        for tuning in TUNINGS:
            if any(text in f"{protocol} {tuning}" for text in args.only):
                subprocess.run([sys.executable, __file__, "--data", args.data, "--one", protocol, tuning], check=True)


def compared(protocol: str, tuning: str, data: Path) -> dict[str, Any]:
    """Return the ratios measured / estimated of one job, or why it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            job = job_of(protocol, tuning, data)
            rows = run(job, out=Path(folder) / "plain").summary["plan"]["rows"]
        except JobError as fault:
            return {"protocol": protocol, "tuning": tuning, "refused": str(fault)}
        flops = json.loads((Path(folder) / "plain" / "plan.json").read_text())["flops"]
        with FlopCounterMode(display=False) as counter:
            carry_out(assemble(job, warn=lambda text: None), Path(folder) / "counted")
    whole = flops["train"] + flops["evaluate"] + flops["server"]
    ratios = {row["what"] if row["what"] == "memory" else f"{row['what']} {row['of']}": round(row["ratio"], 4) for row in rows}
    return {"protocol": protocol, "tuning": tuning, **ratios, "operations counted": round(counter.get_total_flops() / whole, 4)}


def job_of(protocol: str, tuning: str, data: Path) -> Job:
    """Return a small job; on MiniLM where all weights are trained, else on SmolLM2."""
    classes = tuning == "full"
    home = data / ("banking77" if classes else "e2e")
    task = (
        {"kind": "classification", "labels": str(home / "labels.json"), "max_tokens": 48}
        if classes
        else {"kind": "generation", "max_tokens": 64}
    )
    said = dict(PROTOCOLS[protocol])
    if protocol == "distillation" and not classes:
        said["top_k"] = 8
    return Job.from_dict(
        {
            "name": "planning",
            "backbone": "minilm-l6" if classes else "smollm2-135m",
            "task": task,
            "data": {"train": str(home / "train.parquet"), "limit": {"train": 72}},
            "clients": {"count": 3, "validation_share": 0.2, "test_share": 0.2},
            "tuning": TUNINGS[tuning],
            "protocol": said,
            "evaluation": {"metrics": ["loss"]},
            "stop": {"rounds": 2, "patience": None},
            "threads": 1,
        }
    )


def summarize() -> None:
    """Print the table of what was found last of each job."""
    lines = {(line["protocol"], line["tuning"]): line for line in map(json.loads, FILE.read_text().splitlines())}
    columns = sorted({name for line in lines.values() for name in line} - {"protocol", "tuning", "refused"})
    print("| job |", " | ".join(columns), "|")
    print("|---|" + "---|" * len(columns))
    for (protocol, tuning), line in lines.items():
        cells = [line["refused"][:80]] if "refused" in line else [f"{line[name]:.3f}" if name in line else "" for name in columns]
        print(f"| {protocol}, {tuning} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
