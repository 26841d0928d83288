"""What logits weigh on the wire, and how far what is rebuilt from it is from what was said.

Usage: logits_wire.py --data DATA --run RUN [--texts 20]. DATA holds banking77/ and e2e/, RUN is the folder of a finished run on Banking77. Rows of its model (77
intents) for 300 test questions, whole in float32, float16 and int8; and of SmolLM2 (49,152 words, as it comes) at every target token of --texts test descriptions of
E2E, cut to the k likeliest words in float16. Writes benchmarks/out/logits_wire.csv: bytes a row of an encoded message with all rows, beside
`LogitsWire.size_bytes`; the greatest distance of a rebuilt row's sum from 1; and KL(full || rebuilt) in nats, both softened by T as in distillation. About 5
minutes on one core.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file
from timing import OUT
from torch import Tensor

from fedtailor import Job
from fedtailor.assembly import Parts, assemble
from fedtailor.learning.distil import classes_of, scores
from fedtailor.messages import encode
from fedtailor.messages.wires.logits import LogitsWire
from fedtailor.records import Message
from fedtailor.tasks import evaluation_batches
from fedtailor.tasks.text.generate import evaluating

# M places, C classes or words

WIDTHS = ("float32", "float16", "int8")
ENTRIES = (8, 32, 128, 512)  # k
TEMPERATURES = (1.0, 2.0)
QUESTIONS = 300
BATCH = 8


def main() -> None:
    """Measure both models and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=20)
    args = parser.parse_args()
    data = args.data.resolve()
    parts = tuned(args.run, data / "banking77")
    rows = measured("MiniLM, Banking77", parts, [LogitsWire(dtype=width, classes=classes_of(parts.worker)) for width in WIDTHS])
    print(pd.DataFrame(rows).to_string(index=False), flush=True)
    parts = assemble(texts(data / "e2e", args.texts))
    words = classes_of(parts.worker)
    cut = [LogitsWire(dtype="float16", classes=words, top_k=k, temperature=t) for k in ENTRIES for t in TEMPERATURES]
    rows += measured("SmolLM2, E2E", parts, cut)
    table = pd.DataFrame(rows)
    OUT.mkdir(exist_ok=True)
    table.to_csv(OUT / "logits_wire.csv", index=False)
    print(table.to_string(index=False))


@dataclass(kw_only=True)
class Tally:
    """What is known of one form of logits after some batches."""

    wire: LogitsWire
    sent: list[dict[str, Tensor]] = field(default_factory=list)
    off: float = 0.0  # greatest |sum - 1| of a rebuilt row
    divergence: Mapping[float, list[Tensor]] = field(init=False)  # by T, [M] each; rows that are cut are softened by one T before

    def __post_init__(self) -> None:
        self.divergence = {each: [] for each in (TEMPERATURES if self.wire.top_k is None else (self.wire.temperature,))}

    def add(self, logits_MC: Tensor) -> None:
        """Write and rebuild one batch of rows."""
        self.sent.append(self.wire.encode(logits_MC))
        rebuilt_MC = self.wire.decode(self.sent[-1])
        self.off = max(self.off, float((rebuilt_MC.double().exp().sum(-1) - 1).abs().max()))
        for temperature, found in self.divergence.items():
            full_MC = torch.log_softmax(logits_MC.double() / temperature, -1)
            found.append((full_MC.exp() * (full_MC - torch.log_softmax(rebuilt_MC.double() / temperature, -1))).sum(-1))

    def rows(self) -> Iterator[dict[str, float | str]]:
        """Yield a row of the table for each temperature."""
        tensors = {name: torch.cat([each[name] for each in self.sent]) for name in self.sent[0]}
        size, places = len(encode(Message(kind="train", tensors=tensors, facts={}))), len(next(iter(tensors.values())))
        for temperature, found in self.divergence.items():
            each_M = torch.cat(found)
            yield {
                "form": self.wire.dtype if self.wire.top_k is None else f"{self.wire.dtype}, top {self.wire.top_k}",
                "rows": places,
                "bytes a row, measured": size / places,
                "bytes a row, formula": self.wire.size_bytes(places) / places,
                "header of the message": size - self.wire.size_bytes(places),
                "greatest |sum - 1|": self.off,
                "T": temperature,
                "KL, mean": float(each_M.mean()),
                "KL, 95th percentile": float(each_M.quantile(0.95)),
            }


def measured(name: str, parts: Parts, wires: list[LogitsWire]) -> list[dict[str, Any]]:
    """Return the rows of the table for what the weights in place say of the public test set."""
    tallies, worker, shard = [Tally(wire=wire) for wire in wires], parts.worker, parts.server_test
    with torch.no_grad(), evaluating(worker.model):
        for batch in evaluation_batches(shard.sizes_N.tolist(), BATCH):
            logits_MC, _ = scores(worker, worker.batch(shard, batch), classes_of(worker))
            for tally in tallies:
                tally.add(logits_MC)
    return [{"logits": name, **row} for tally in tallies for row in tally.rows()]


def tuned(run: Path, home: Path) -> Parts:
    """Return the parts of a finished run on Banking77, with the weights that its last round ended with."""
    files = [f"data.train={home / 'train.parquet'}", f"data.test={home / 'test.parquet'}", f"task.labels={home / 'labels.json'}"]
    parts = assemble(Job.load(run / "job.yaml", [*files, f"data.limit.test={QUESTIONS}"]))
    parts.worker.load(load_file(max((run / "checkpoint").glob("[0-9]*")) / "shared.safetensors"))
    return parts


def texts(home: Path, count: int) -> Job:
    """Return a job whose test set are descriptions; it is not run."""
    return Job.from_dict(
        {
            "name": "logits-wire-texts",
            "backbone": "smollm2-135m",
            "task": {"kind": "generation"},
            "data": {
                "train": str(home / "train.parquet"),
                "test": str(home / "test.parquet"),
                "limit": {"train": 10, "test": count},
            },
            "clients": {"count": 1, "validation_share": 0.0, "test_share": 0.0},
            "threads": 1,
        }
    )


if __name__ == "__main__":
    main()
