"""Tiny jobs of clients that distil: three classes of short questions, and short texts to write."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

TEXTS = {
    "card": ["my card is lost", "the card was stolen", "block my card", "a new card please", "card does not work"],
    "rate": ["what is the rate", "which exchange rate", "the rate is wrong", "rate for euros", "rate of today"],
    "top": ["top up failed", "how to top up", "top up by cash", "my top up is gone", "top up limits"],
}
LEARN = {"learning_rate": 0.02, "batch_size": 8}


def class_data(copies: int = 6) -> dict[str, list[dict[str, str]]]:
    """Return rows of three classes, for training and for a public test set."""
    rows = [{"text": f"{text} {n}", "label": label} for n in range(copies) for label, texts in TEXTS.items() for text in texts]
    return {"train": rows, "test": [{"text": f"{row['text']} now", "label": row["label"]} for row in rows[:15]]}


def class_job(backbone: Any, **changes: Any) -> Any:
    """Return a job of 3 clients on a tiny random BERT; 30 of the 90 rows are public. `changes` as in `tiny_job`; protocol ones are p_NAME."""
    from fedtailor.job import Job

    protocol = {"kind": "distillation", "public": "rest", "local": LEARN | {"batch_size": 4}, "align": LEARN, "distil": LEARN}
    protocol |= {name.removeprefix("p_"): value for name, value in changes.items() if name.startswith("p_")}
    job = Job.from_dict(
        {
            "name": "tiny",
            "backbone": str(backbone),
            "task": {"kind": "classification", "labels": list(TEXTS)},
            "data": {"train": "given-in-memory.jsonl", "limit": {"train": 60}},
            "clients": {"count": 3, "min_examples": 4},
            "tuning": {"kind": "lora", "rank": 2, "alpha": 4, "dropout": 0.1},
            "protocol": protocol,
            "stop": {"rounds": 2, "patience": None, "keep": "last"},
            "precision": "float32",
            "threads": 1,
        }
    )
    for name, value in changes.items():
        job = job if name.startswith("p_") else job.replace(name.replace("__", "."), value)
    return job


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the adapter that the server, or a client, ended with."""
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def assert_same_run(one: Path, other: Path) -> None:
    """Hold the server's model and those of all clients against each other, bit by bit."""
    for place in ("", *(f"clients/client-0{n}" for n in range(3))):
        left, right = weights(one / place), weights(other / place)
        assert left.keys() == right.keys()
        assert all(torch.equal(left[name], right[name]) for name in left), place
