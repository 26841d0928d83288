"""What every tuning learns with its default settings, and the learning rates that its default was chosen among.

Usage: defaults.py --data FOLDER --out FOLDER [--tasks classification generation] [--tunings NAME ...] [--rates 1e-4 ...] [--heads 0.1 ...] [--share 0.5] [--seeds 0 1 2].
FOLDER holds banking77/train.parquet and e2e/train.parquet. Classification is Banking77 on MiniLM (1,000 rows, 500 others to validate on),
generation E2E on SmolLM2 (320 rows, 64 others to validate on); four clients, two rounds of one epoch. With --rates each tuning is tried at
each rate with a seed that the table does not use, on a share of the rows; without, it runs at its default with every seed. The same command continues with what is missing.
"""

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fedtailor import Job, run

TRIAL_SEED = 100
TUNINGS: Mapping[str, Mapping[str, Any]] = {
    "lora": {"kind": "lora"},
    "fed-sb": {"kind": "fed-sb"},
    "full": {"kind": "full"},
    "adapter": {"kind": "adapter"},
    "prefix": {"kind": "prefix"},
    "prefix-raw": {"kind": "prefix", "exchange": "prefix"},
    "prompt": {"kind": "prompt"},
    "prompt-words": {"kind": "prompt", "start": "words"},
    "ia3": {"kind": "peft", "type": "IA3"},
    "vera": {"kind": "peft", "type": "VERA"},
    "loha": {"kind": "peft", "type": "LOHA"},
}
TASKS: Mapping[str, Mapping[str, Any]] = {
    "classification": {
        "backbone": "minilm-l6",
        "task": {"kind": "classification"},
        "data": {},
    },
    "generation": {"backbone": "smollm2-135m", "task": {"kind": "generation"}, "data": {}},
}
SOURCES = {"classification": ("banking77", 1000, 500), "generation": ("e2e", 320, 64)}  # folder, rows to train and to validate on


def main() -> None:
    """Try the rates that are given, or run the defaults, and print a row a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--tunings", nargs="+", choices=TUNINGS, default=list(TUNINGS))
    parser.add_argument("--rates", nargs="+", type=float)
    parser.add_argument(
        "--heads", nargs="+", type=float, help="learning rates of a classifier's head, each tried beside each of --rates"
    )
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for task in args.tasks:
        files = cut_parts(task, args.data, args.out, share=args.share)
        for tuning in args.tunings:
            for cell in cells(args.rates, args.heads, args.seeds):
                row = {"task": task, "tuning": tuning, **cell}
                print(json.dumps(measure(row, files, args.out)), flush=True)


def cells(rates: list[float] | None, heads: list[float] | None, seeds: list[int]) -> Iterator[dict[str, Any]]:
    """Yield seed and, if rates are tried, rates of each run of one tuning."""
    if rates:
        yield from (
            {"seed": TRIAL_SEED, "rate": rate, **({} if head is None else {"head": head})}
            for rate in rates
            for head in heads or [None]
        )
    else:
        yield from ({"seed": seed} for seed in seeds)


def cut_parts(task: str, data: Path, out: Path, *, share: float) -> dict[str, Path]:
    """Write the rows to train and to validate on, drawn once, and return their files."""
    source, *counts = SOURCES[task]
    train, validation = (round(share * count) for count in counts)
    rows = pd.read_parquet(data / source / "train.parquet").sample(train + validation, random_state=0)
    files = {part: (out / f"{task}-{part}-{share:g}.parquet").resolve() for part in ("train", "validation")}
    rows[:train].to_parquet(files["train"], index=False)
    rows[train:].to_parquet(files["validation"], index=False)
    return files


def measure(row: dict[str, Any], files: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Return `row` with the validation losses before and after two rounds; a run that ended badly has its error instead."""
    done = out / ("-".join(str(part) for part in row.values()) + ".json")
    if done.is_file():
        return json.loads(done.read_text())
    base = TASKS[row["task"]]
    local = {} if "rate" not in row else {"learning_rate": row["rate"]}
    local |= {} if "head" not in row else {"head_learning_rate": row["head"]}
    job = Job.from_dict(
        {
            **base,
            "data": {**base["data"], **{part: str(file) for part, file in files.items()}},
            "clients": {"count": 4, "test_share": 0.0},
            "tuning": dict(TUNINGS[row["tuning"]]),
            "protocol": {"local": local},
            "evaluation": {"metrics": ["loss"]},
            "stop": {"rounds": 2},
            "seed": row["seed"],
        }
    )
    try:
        result = run(job, out=out / "runs" / done.stem)
        before = result.summary["validation_loss"]["before"]  # of the untouched backbone
        rounds = list(result.history["validation_loss"])
        found = {"before": before, "after": rounds[-1], "change": round(100 * (rounds[-1] / before - 1), 1), "rounds": rounds}
    except Exception as error:  # a rate that diverges is a finding
        found = {"error": f"{type(error).__name__}: {error}"[:200], "after": math.inf}
    row = row | found
    done.write_text(json.dumps(row))
    return row


if __name__ == "__main__":
    main()
