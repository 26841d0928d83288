"""Peak memory and processor's seconds of a run of few clients and of many: 10 asked a round, 3 rounds, a random Llama of width 16.

Each client has four examples of its own and keeps the moments of its optimizer in a folder; validation and test sets are public, or, with --own,
each client keeps one of its four for validation and one for testing, and all clients are evaluated. Each run has a process of its own, and the
counts take turns. Seconds are those of the processor, which other work on the machine changes least.

Usage: clients.py [--clients 100 10000] [--times 3] [--own]. About 2 minutes on 2 cores.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from timing import ratio, write

ROUNDS, ASKED, EXAMPLES = 3, 10, 4


def main() -> None:
    """Measure each count in processes of its own, and write how peak memory grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs=2, default=(100, 10_000))
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument(
        "--own", action="store_true", help="clients have validation and test parts of their own, and all are evaluated"
    )
    parser.add_argument("--one", type=int, help="measure this many clients in this process and print the figures")
    args = parser.parse_args()
    if args.one:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(args.one, Path(folder), own=args.own)))
        return
    found: dict[int, list[dict[str, float]]] = {count: [] for count in args.clients}
    for _ in range(args.times):
        for count in args.clients:
            command = [sys.executable, __file__, "--one", str(count), *(["--own"] if args.own else [])]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[count].append(json.loads(done.stdout.splitlines()[-1]))
            print(count, found[count][-1], flush=True)
    few, many = (found[count] for count in sorted(found))
    peaks = ratio([each["peak_mb"] for each in many], [each["peak_mb"] for each in few])
    write("clients-own" if args.own else "clients", {"runs": found, "peak, many / few": peaks})


def measure(count: int, folder: Path, *, own: bool) -> dict[str, float]:
    """Return peak resident memory and the processor's seconds of a run of `count` clients: until they are ready, until round 1 is done, and whole."""
    from fedtailor import Job, run

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from conftest import save_tiny
    from transformers import LlamaConfig, LlamaForCausalLM

    def llama(ids: dict[str, Any]) -> Any:
        return LlamaForCausalLM(
            LlamaConfig(
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=256,
                **ids,
            )
        )

    save_tiny(folder / "llama", llama)
    rows = [
        {"input": f"double {n}", "target": f"{n} and {n} is {2 * n}", "owner": f"client-{n // EXAMPLES:05d}"}
        for n in range(count * EXAMPLES)
    ]
    for name, part in (("train", rows), ("public", rows[:40])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    share = 0.25 if own else 0
    public = {} if own else {"validation": str(folder / "public.jsonl"), "test": str(folder / "public.jsonl")}
    job = Job.from_dict(
        {
            "name": "clients",
            "backbone": str(folder / "llama"),
            "task": {"kind": "generation"},
            "data": {"train": str(folder / "train.jsonl"), **public},
            "clients": {
                "partition": {"kind": "natural", "by": "owner"},
                "min_examples": 1,
                "per_round": ASKED,
                "test_share": share,
                "validation_share": share,
            },
            "tuning": {"kind": "lora", "rank": 2, "alpha": 4},
            "protocol": {"local": {"steps": 1, "batch_size": 2, "learning_rate": 0.01, "keep_optimizer": True}},
            "evaluation": {"metrics": ["loss"]},
            "stop": {"rounds": ROUNDS, "patience": None},
            "threads": 1,
        }
    )
    marks: dict[str, float] = {}
    began = time.process_time()

    def watch(kind: str, facts: Any) -> None:
        what = "ready" if kind == "loading" and "settings" in str(facts["what"]) else kind
        marks.setdefault(what, time.process_time() - began)

    run(job, out=folder / "run", watcher=watch)
    whole = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {
        "peak_mb": round(peak),
        "ready_s": round(marks["ready"], 1),
        "round_1_s": round(marks["round"], 1),
        "whole_s": round(whole, 1),
    }


if __name__ == "__main__":
    main()
