"""Where a run's seconds go, and which forward passes of losses are made: one job for each protocol, and the demo's shape.

    python benchmarks/seconds.py [--jobs averaging,distillation,split,demo] [--rounds 2] [--out FOLDER]

For each job a line: the share of each part in the whole, their sum, what the gain of local training costs beside local training itself, and
the passes over a set of rows, with how many of them saw the same rows under the same weights before.
"""

import argparse
import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pandas as pd

from fedtailor.job import Job
from fedtailor.running import run
from fedtailor.tasks import generation
from fedtailor.tasks.text import measure

SMALL = ("data.limit.train=240", "protocol.local.steps=4", "evaluation.metrics=[loss]")
JOBS = {
    "averaging": SMALL,
    "distillation": (
        "data.limit.train=240",
        "evaluation.metrics=[loss]",
        "protocol={kind: distillation, public: rest, public_limit: 16, top_k: 8, local: {steps: 4, learning_rate: 2e-3}}",
    ),
    "split": (
        "data.limit.train=240",
        "evaluation.metrics=[loss]",
        "protocol={kind: split, cut: 10, local: {steps: 4, learning_rate: 2e-3}}",
    ),
    "prompting": (
        "data.limit.train=240",
        "data.columns={text: input, label: library}",
        "clients={count: 3, min_examples: 8, validation_share: 0.2, test_share: 0.1}",
        "task={kind: label-likelihood, max_tokens: 48}",
        "tuning={kind: none}",
        "evaluation={metrics: [loss, accuracy]}",
        "protocol={kind: prompting, method: {kind: search, keep: 2, children: 2, generations: 1}}",
    ),
    "gain": (
        "data.limit.train=1200",
        "evaluation={metrics: [loss], local_gain: true}",
        "clients.validation_share=0.1",
        "protocol.local={epochs: 1}",
    ),
    "demo": (),
}


def main() -> None:
    """Run the jobs and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", default=",".join(JOBS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    out = asked.out or Path(tempfile.mkdtemp())
    print("| job | seconds | training | evaluation | exchange | server | saving | sum | gain / training | passes | repeated |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name in asked.jobs.split(","):
        with counted_passes() as passes:
            job = load(name, rounds=asked.rounds)
            summary = run(job, out=out / name).summary
        print(line(name, summary, pd.read_parquet(out / name / "clients.parquet"), passes), flush=True)


def load(name: str, *, rounds: int) -> Job:
    """Return a job of the demo's shape with some settings changed."""
    with as_file(files("fedtailor.cli.demos").joinpath("main.yaml")) as file:
        return Job.load(file, [*JOBS[name], f"stop.rounds={rounds}"]).replace("base", str(Path.cwd()))


def line(name: str, summary: dict[str, Any], clients: pd.DataFrame, passes: "Counter[tuple[str, str]]") -> str:
    """Return one row of the table."""
    seconds = dict(summary["seconds"])
    whole = seconds.pop("total")
    shares = [f"{100 * seconds[part] / whole:.1f} %" for part in ("train", "evaluate", "exchange", "server", "save")]
    gain = clients["evaluation_seconds"].sum() / clients["seconds"].sum() if "evaluation_seconds" in clients else 0.0
    repeated = sum(count - 1 for count in passes.values())
    cells = [name, f"{whole:.0f}", *shares, f"{100 * sum(seconds.values()) / whole:.1f} %", f"{100 * gain:.1f} %"]
    return f"| {' | '.join([*cells, str(passes.total()), str(repeated)])} |"


@contextmanager
def counted_passes() -> Iterator["Counter[tuple[str, str]]"]:
    """Count the passes over sets of rows inside the block, by the weights in place and the rows."""
    passes: Counter[tuple[str, str]] = Counter()
    losses = measure.token_losses

    def counted(task: Any, worker: Any, shard: Any, how: Any) -> Any:
        weights = hashlib.sha256()
        for parameter in worker.model.parameters():
            if parameter.requires_grad:
                weights.update(parameter.detach().cpu().numpy().data)
        rows = hashlib.sha256(shard.tokens_T.numpy().data).hexdigest() + str(how.sample_alone)
        passes[weights.hexdigest(), rows] += 1
        return losses(task, worker, shard, how)

    measure.token_losses = generation.token_losses = counted  # type: ignore[attr-defined]
    try:
        yield passes
    finally:
        measure.token_losses = generation.token_losses = losses  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
