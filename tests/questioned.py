"""Questions to train an embedder on, each with the passage that answers it."""

from asked import WORDS

from fedtailor.job import Job


def pairs(count: int = 24) -> list[dict[str, str]]:
    """Return questions that name a passage by words of their own, which no backbone knows of."""
    passages = [f"The {word} is {WORDS[-n - 1]}." for n, word in enumerate(WORDS)]
    return [{"question": f"which one is number {n % 12} at {n}", "text": passages[n % 12]} for n in range(count)]


def training_job(backbone, **changes):
    """Return a job of two clients; `changes` are dotted settings with __ for the dots."""
    job = Job.from_dict(
        {
            "backbone": str(backbone),
            "task": {"kind": "retrieval"},
            "data": {"train": "given.jsonl"},
            "clients": {"count": 2, "min_examples": 4, "validation_share": 0.2, "test_share": 0.2},
            "tuning": {"kind": "lora", "rank": 2, "alpha": 4},
            "protocol": {"kind": "averaging", "local": {"learning_rate": 0.05, "batch_size": 4, "epochs": 3}},
            "stop": {"rounds": 2},
            "precision": "float32",
            "threads": 1,
        }
    )
    for name, value in changes.items():
        job = job.replace(name.replace("__", "."), value)
    return job
