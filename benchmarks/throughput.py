"""Examples per second of our training loop against transformers' Trainer with dynamic padding.

Same backbone, LoRA, examples, batch size, precision and threads; the Trainer draws its batches at random, and once more
grouped by length. Both sides take the same number of steps; loading and set-up are not timed. The Trainer has a model of its
own, since it wraps the one that it is given. Its grouping sorts blocks of 50 batches from long to short, so a fair number of
steps is a multiple of 50: fewer would show it the long half alone.

Usage: throughput.py --data FOLDER [--pairs 5] [--sets e2e banking77]. About 25 minutes on 2 cores.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timing import alternate, ratio, write

from fedtailor import Job
from fedtailor.assembly import Parts, assemble
from fedtailor.learning.training import train_locally
from fedtailor.learning.work import Training

SETS: dict[str, dict[str, Any]] = {
    "e2e": {"backbone": "smollm2-135m", "task": {"kind": "generation"}, "batch_size": 8, "steps": 50, "limit": 4000},
    "banking77": {"backbone": "minilm-l6", "task": {"kind": "classification"}, "batch_size": 16, "steps": 100, "limit": 4000},
}


def main() -> None:
    """Time both sides in turn on each data set and write how many examples a second each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    args = parser.parse_args()
    found = {name: compare(name, args.data.resolve(), args.pairs) for name in args.sets}
    write("throughput-" + "-".join(args.sets), found)


def compare(name: str, data: Path, pairs: int) -> dict[str, Any]:
    """Return examples a second of each side on one data set, and the ratios."""
    settings = SETS[name]
    parts, theirs = assemble(job(name, data)), assemble(job(name, data))
    runs = {
        "ours": ours(parts, settings["steps"]),
        "trainer": trainer(theirs, settings, "random"),
        "trainer, grouped": trainer(theirs, settings, "group_by_length"),
    }
    for run in runs.values():
        run(0)
    seconds = alternate(runs, pairs)
    examples = settings["steps"] * settings["batch_size"]
    return {
        "ours / trainer": ratio(seconds["trainer"], seconds["ours"]),
        "ours / trainer, grouped": ratio(seconds["trainer, grouped"], seconds["ours"]),
        "examples per second": {side: examples * pairs / sum(values) for side, values in seconds.items()},
        "precision": parts.precision,
        "threads": torch.get_num_threads(),
        "pairs": pairs,
        "steps": settings["steps"],
        "seconds": seconds,
    }


def job(name: str, data: Path) -> Job:
    """Return a job of one client, whose own parts are all for training."""
    settings = SETS[name]
    return Job.from_dict(
        {
            "name": name,
            "backbone": settings["backbone"],
            "task": settings["task"],
            "data": {"train": str(data / name / "train.parquet"), "limit": {"train": settings["limit"]}},
            "clients": {"count": 1, "test_share": 0, "validation_share": 0},
            "protocol": {"local": {"steps": settings["steps"], "batch_size": settings["batch_size"], "learning_rate": 1e-4}},
        }
    )


def ours(parts: Parts, steps: int) -> Callable[[int], float]:
    """Return our loop, as it runs at a client."""
    (own,) = parts.clients.values()

    def run(pair: int) -> float:
        began = time.perf_counter()
        trained = train_locally(
            Training(worker=parts.worker, shard=own.train, settings=parts.protocol.local, round=pair + 1, client=own.id)
        )
        assert len(trained.losses) == steps
        return time.perf_counter() - began

    return run


def trainer(parts: Parts, settings: dict[str, Any], sampling: str) -> Callable[[int], float]:
    """Return transformers' Trainer on the same model and the same tokens."""
    from transformers import DataCollatorForSeq2Seq, DataCollatorWithPadding, PrinterCallback, Trainer, TrainingArguments

    worker = parts.worker
    (own,) = parts.clients.values()
    rows = rows_of(own.train)
    padding = DataCollatorForSeq2Seq if "labels" in rows[0] and isinstance(rows[0]["labels"], list) else DataCollatorWithPadding

    def run(pair: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=settings["batch_size"],
                max_steps=settings["steps"],
                learning_rate=1e-4,
                bf16=worker.bfloat16,
                use_cpu=True,
                optim="adamw_torch_fused",
                train_sampling_strategy=sampling,
                logging_strategy="no",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                remove_unused_columns=False,
                seed=pair,
                dataloader_pin_memory=False,
            )
            engine = Trainer(model=worker.model, args=arguments, train_dataset=rows, data_collator=padding(worker.processor))
            engine.remove_callback(PrinterCallback)
            return float(engine.train().metrics["train_runtime"])

    return run


def rows_of(shard: Any) -> list[dict[str, Any]]:
    """Return the shard's examples in the form that transformers' collators take."""
    rows = []
    for number, (a, b) in enumerate(zip(shard.starts[:-1].tolist(), shard.starts[1:].tolist(), strict=True)):
        ids = shard.tokens_T[a:b].tolist()
        row: dict[str, Any] = {"input_ids": ids, "attention_mask": [1] * len(ids)}
        if shard.labels_N is None:
            row["labels"] = [i if counted else -100 for i, counted in zip(ids, shard.target_T[a:b].tolist(), strict=True)]
        else:
            row["labels"] = int(shard.labels_N[number])
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
