"""Does a federated search find a better prompt than the middle of its pool? Held-out loss and accuracy on a few intents of Banking77.

Usage: python benchmarks/prompting.py --data DATA [--seeds 0 1 2] [--intents 4] [--train 24] [--test 10] [--out FOLDER]
DATA holds banking77/train.parquet, test.parquet (text, label) and labels.json. Each seed draws the intents, the texts and the division. Printed for each seed:
held-out loss and accuracy of the prompt that was found, of the pool's least, median and greatest, the bytes of a round, and the time; then the difference to
the pool's median with a paired 95 % bootstrap interval over the texts of all seeds.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from intents import rows

from fedtailor.export import open_run
from fedtailor.job import Job
from fedtailor.prompting import PromptReader, prompt_from_json
from fedtailor.prompting.score import log_sum
from fedtailor.running import run

DRAWS = 10_000


def search(data: Path, seed: int, intents: int, out: Path, *, train_texts: int, test_texts: int) -> dict[str, object]:
    """Search a prompt and measure it and the whole pool on the held-out texts."""
    draw = np.random.default_rng(seed)
    chosen = sorted(draw.choice(77, intents, replace=False).tolist())
    train, test = rows(data, "train", chosen, train_texts, draw), rows(data, "test", chosen, test_texts, draw)
    job = Job.from_dict(
        {
            "name": f"prompting-{seed}",
            "backbone": "smollm2-135m",
            "task": {"kind": "label-likelihood", "max_tokens": 48},
            "data": {"train": "given"},
            "clients": {"count": 3, "validation_share": 0.3, "test_share": 0.0, "min_examples": 8},
            "protocol": {"kind": "prompting", "method": {"kind": "search", "keep": 3, "children": 4, "generations": 2}},
            "stop": {"rounds": 20},
            "precision": "float32",
            "threads": 1,
            "seed": seed,
        }
    )
    began = time.perf_counter()
    done = run(job, data={"train": train, "test": test}, out=out / f"seed-{seed}", watcher=_progress)
    seconds = time.perf_counter() - began
    opened = open_run(done.folder)
    reader = PromptReader(opened.model, opened.backbone.processor)
    found = prompt_from_json(done.summary["prompting"]["found"])
    pool = job.protocol.method.prompts(found.labels, Path(), seed)
    texts, right = [row["text"] for row in test], [found.labels.index(row["label"].replace("_", " ")) for row in test]

    def losses(prompt: object, calibrate: bool = True) -> tuple[list[float], float]:
        scores = reader.read(prompt, calibrate=calibrate).scores(texts)
        own = [log_sum(row) - row[gold] for row, gold in zip(scores, right, strict=True)]
        return own, sum(row.index(max(row)) == gold for row, gold in zip(scores, right, strict=True)) / len(texts)

    of_pool, of_found, plain = [losses(prompt) for prompt in pool], losses(found), losses(found, calibrate=False)
    order = sorted(range(len(pool)), key=lambda at: sum(of_pool[at][0]))
    middle = [order[(len(order) - 1) // 2], order[len(order) // 2]]
    median = [sum(of_pool[at][0][row] for at in middle) / 2 for row in range(len(texts))]
    table = done.history
    return {
        "seed": seed,
        "seconds": seconds,
        "rounds": len(table),
        "down_bytes": int(table["down_bytes"].max() / 3),
        "up_bytes": int(table["up_bytes"].max() / 3),
        "prompt": done.summary["prompting"]["prompt"],
        "found": (statistics.mean(of_found[0]), of_found[1]),
        "plain": (statistics.mean(plain[0]), plain[1]),
        "pool": [(statistics.mean(own), accuracy) for own, accuracy in (of_pool[at] for at in order)],
        "accuracies": sorted(accuracy for _, accuracy in of_pool),
        "differences": [one - other for one, other in zip(of_found[0], median, strict=True)],
    }


def _progress(kind: str, facts: object) -> None:
    if kind == "round":
        print(
            kind,
            {k: v for k, v in facts.items() if k in ("round", "candidates", "scored", "best_loss", "median_loss", "seconds")},
            flush=True,
        )


def main() -> None:
    """Print a line for each seed, then the interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--intents", type=int, default=4)
    parser.add_argument("--train", type=int, default=24, help="texts of each intent, divided among 3 clients")
    parser.add_argument("--test", type=int, default=10, help="held-out texts of each intent")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    out = given.out or Path(tempfile.mkdtemp())
    differences: list[float] = []
    for seed in given.seeds:
        found = search(given.data, seed, given.intents, out, train_texts=given.train, test_texts=given.test)
        pool = found["pool"]
        middle = statistics.median(loss for loss, _ in pool)
        print(
            f"seed {seed}: found loss {found['found'][0]:.3f} accuracy {found['found'][1]:.3f} (not calibrated {found['plain'][0]:.3f}, "
            f"{found['plain'][1]:.3f}); pool loss {pool[0][0]:.3f} / {middle:.3f} / {pool[-1][0]:.3f}, accuracy {found['accuracies'][0]:.3f} / "
            f"{statistics.median(found['accuracies']):.3f} / {found['accuracies'][-1]:.3f}; {found['rounds']} rounds, a client and round "
            f"{found['down_bytes']:,} bytes down, {found['up_bytes']:,} up; {found['seconds']:.0f} s",
            flush=True,
        )
        print(f"  {found['prompt']!r}", flush=True)
        differences += found["differences"]
    values = np.array(differences)
    draws = np.random.default_rng(0).choice(values, (DRAWS, len(values))).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    print(f"found less the pool's median, {len(values)} texts: {values.mean():.3f} (95 % {low:.3f} to {high:.3f})", flush=True)


main()
