"""The ledger of split learning beside its cost model, over batch, tokens and cut: bytes and seconds.

Usage: split_ledger.py --data DATA --out FOLDER [--models minilm-l6 smollm2-135m] [--widths 32 128]. DATA holds banking77/ and e2e/. One client and one server, LoRA, float32 on the
wire, both forms of labels. MiniLM: batches of 1, 8 and 32 texts of exactly 32 or 128 tokens (Banking77's questions, joined and truncated there), every cut; SmolLM2:
batches of 8 blocks of text from E2E, three cuts. Every cell is a run of two rounds, of 4 steps each where a batch has at most 256 tokens, else of 1; or of one
round, where it has more than 1,024. Seconds are of the last round. Beside them stands what `fedtailor cut` estimates, at the speed that it measures on the same batches.

Seconds are of this process's processor time on one thread, so that other work on the machine hardly shows. The same command continues with what is
missing. Writes OUT/split_ledger.csv (a row a cell) and prints it in short. About 10 minutes on one core.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from fedtailor import Job, run
from fedtailor.assembly import assemble
from fedtailor.protocols import SplitRun
from fedtailor.protocols.split.planning import CutCost, Means, Work, cut_costs, measured_flops

SHAPES = {"minilm-l6": list(product((32, 128), (1, 8, 32))), "smollm2-135m": [(32, 8), (128, 8)]}  # tokens, batch
CUTS = {"minilm-l6": (1, 3, 6, 2, 4, 5), "smollm2-135m": (1, 15, 30)}  # in the order in which they are run
LABELS = ("with-server", "u-shaped")
FEW_TOKENS, MANY_TOKENS = 256, 1024  # of a batch: up to here a round has 4 steps; beyond there a run has one round
ANY = 1.0  # bandwidth, which a simulation has none of


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the steps of some cells have in common."""

    model: str
    tokens: int  # of each text
    batch: int

    @property
    def steps(self) -> int:
        """Of a round."""
        return 4 if self.batch * self.tokens <= FEW_TOKENS else 1

    @property
    def rounds(self) -> int:
        """Of a run: the first is to warm up, where a step is short."""
        return 1 if self.batch * self.tokens > MANY_TOKENS else 2

    @property
    def texts(self) -> int:
        """That the client has: those of one round."""
        return self.batch * self.steps


def main() -> None:
    """Run every cell that is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--widths", type=int, nargs="+", choices=(32, 128), default=[32, 128], help="tokens of a text")
    args = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    time.perf_counter = time.process_time  # the clock of the ledger and of `measured_flops`
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "split_ledger.csv"
    found = pd.read_csv(file).to_dict("records") if file.is_file() else []
    benches: dict[Shape, Bench] = {}
    for model, cut in [(each, cut) for each in args.models for cut in CUTS[each]]:
        shapes = [Shape(model=model, tokens=tokens, batch=batch) for tokens, batch in SHAPES[model] if tokens in args.widths]
        for shape, labels in product(shapes, LABELS):
            cell = {**vars(shape), "labels": labels, "cut": cut}
            if any(all(row[name] == value for name, value in cell.items()) for row in found):
                continue
            if shape not in benches:
                benches[shape] = Bench(shape, args.data.resolve())
            if not benches[shape].possible(labels, cut):
                continue
            found.append(cell | benches[shape].measured(labels, cut))
            print(found[-1], flush=True)
            pd.DataFrame(found).to_csv(file, index=False)
    print(in_short(pd.DataFrame(found)).to_string())


class Bench:
    """The texts of a shape, and what steps on them are estimated to cost."""

    def __init__(self, shape: Shape, data: Path) -> None:
        """Read the texts, and measure the speed of this machine on them."""
        self._shape, self._data, self._rows = shape, data, texts_of(shape, data)
        self._costs = costs_of(shape, self._rows, data)

    def possible(self, labels: str, cut: int) -> bool:
        """Return whether the model can be cut there: u-shaped, the server holds a block at least."""
        return isinstance(self._costs[labels].get(cut), CutCost)

    def measured(self, labels: str, cut: int) -> dict[str, float]:
        """Run the job of one cell, and return what its ledger has beside what was estimated."""
        shape, cost = self._shape, self._costs[labels][cut]
        with tempfile.TemporaryDirectory() as folder:
            made = run(job_of(shape, labels, cut, self._data), data=self._rows, out=Path(folder) / "run")
            clients, rounds = pd.read_parquet(made.folder / "clients.parquet"), made.history
        assert isinstance(cost, CutCost)
        assert list(clients["tokens"]) == [shape.texts * shape.tokens] * shape.rounds  # or the texts have another length
        return {
            "steps": shape.steps,
            "up_bytes": float(clients["up_bytes"].mean()),
            "up_estimated": cost.up_bytes,
            "down_bytes": float(clients["down_bytes"].mean()),
            "down_estimated": cost.down_bytes,
            "client_seconds": clients["seconds"].iloc[-1] / shape.steps,
            "client_seconds_estimated": cost.client_seconds / shape.steps,
            "server_seconds": rounds["server_seconds"].iloc[-1] / shape.steps,
            "server_seconds_estimated": cost.server_seconds / shape.steps,
            "codec_seconds": clients["exchange_seconds"].iloc[-1] / shape.steps,
        }


def costs_of(shape: Shape, rows: list[dict[str, Any]], data: Path) -> dict[str, Mapping[int, CutCost | str]]:
    """Return what `fedtailor cut` would print for each form of labels, at the speed that it measures here."""
    found, speed = {}, 0.0
    for labels in LABELS:
        parts = assemble(job_of(shape, labels, 1, data), given=rows, warn=lambda text: None)
        assert isinstance(parts.protocol, SplitRun)
        (own,) = parts.clients.values()
        speed = speed or measured_flops(parts.protocol.terms, own.train)
        work = Work(examples=len(own.train), tokens_per_example=float(own.train.sizes_N.float().mean()), rounds=shape.rounds)
        found[labels] = cut_costs(parts.protocol.terms, work, Means(client_flops=speed, server_flops=speed, bandwidth=ANY))
    return found


def job_of(shape: Shape, labels: str, cut: int, data: Path) -> Job:
    """Return the job of one cell."""
    task: dict[str, Any] = {"kind": "language-modeling", "block": shape.tokens}
    if shape.model == "minilm-l6":
        names = json.loads((data / "banking77" / "labels.json").read_text())
        task = {"kind": "classification", "max_tokens": shape.tokens, "labels": names}
    return Job.from_dict(
        {
            "name": "split-ledger",
            "backbone": shape.model,
            "task": task,
            "data": {"train": "given in memory"},
            "clients": {"count": 1, "min_examples": 1, "validation_share": 0.0, "test_share": 0.0},
            "tuning": {"kind": "lora", "rank": 8, "alpha": 16},
            "protocol": {
                "kind": "split",
                "cut": cut,
                "labels": labels,
                "local": {"epochs": 1, "batch_size": shape.batch, "learning_rate": 1e-3},
            },
            "evaluation": {"every": 1000, "metrics": ["loss"]},
            "stop": {"rounds": shape.rounds, "patience": None, "keep": "last"},
            "threads": 1,
        }
    )


def texts_of(shape: Shape, data: Path) -> list[dict[str, Any]]:
    """Return texts that fill a shape exactly."""
    if shape.model == "minilm-l6":
        questions = pd.read_parquet(data / "banking77" / "train.parquet").sample(frac=1.0, random_state=0)
        labels, texts = questions["label"].tolist(), questions["text"].tolist()
        each = shape.tokens // 4  # questions have more than 4 tokens: enough to be truncated
        return [{"text": " ".join(texts[n * each : (n + 1) * each]), "label": labels[n * each]} for n in range(shape.texts)]
    wanted = shape.texts * (shape.tokens - 1) + 1  # a block begins with the last token of the one before
    return [{"text": filling(pd.read_parquet(data / "e2e" / "train.parquet")["target"], wanted, tokens_in(shape, data))}]


def filling(texts: Iterable[str], wanted: int, count: Callable[[str], int]) -> str:
    """Return words of `texts` in their order, those left out that would be too long, so that they have as many tokens as wanted."""
    found = ""
    for word in " ".join(texts).split():
        longer = f"{found} {word}".strip()
        tokens = count(longer)
        if tokens <= wanted:
            found = longer
        if tokens == wanted:
            return found
    raise ValueError(f"no text of {wanted} tokens was found")


def tokens_in(shape: Shape, data: Path) -> Callable[[str], int]:
    """Return what counts the tokens of a text, as the task has them."""
    from fedtailor.records import Example

    parts = assemble(
        job_of(shape, LABELS[0], 1, data), given=[{"text": "Some words, so that there is a block."}], warn=lambda text: None
    )
    task, tokenizer = parts.worker.task, parts.worker.processor

    def count(text: str) -> int:
        lengths = task.prepare([Example(id="", fields={"text": text})], tokenizer, keep_examples=False).sizes_N
        return int(lengths.sum()) - max(0, len(lengths) - 1)

    return count


def in_short(found: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each shape and form of labels: bytes a round over all cuts, and processor milliseconds a step at each cut."""
    found = found.sort_values(["model", "tokens", "batch", "labels", "cut"]).assign(
        off=100
        * pd.concat([(found[f"{w}_estimated"] / found[f"{w}_bytes"] - 1).abs() for w in ("up", "down")], axis=1).max(axis=1),
        ratio=(found["client_seconds"] + found["server_seconds"])
        / (found["client_seconds_estimated"] + found["server_seconds_estimated"]),
    )
    groups = found.groupby(["model", "tokens", "batch", "labels"], sort=False)
    table = groups[["up_bytes", "up_estimated", "down_bytes", "down_estimated"]].mean().round().astype(int)
    return table.assign(
        off_most=groups["off"].max().round(3),
        **{
            name: groups[name].apply(lambda each: " ".join(f"{1000 * value:.0f}" for value in each))
            for name in ("client_seconds", "client_seconds_estimated", "server_seconds", "server_seconds_estimated")
        },
        ratio_median=groups["ratio"].median().round(2),
    )


if __name__ == "__main__":
    main()
