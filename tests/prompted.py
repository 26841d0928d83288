"""A search for a prompt that ends in seconds."""

from fedtailor.job import Job

LABELS = ("river place", "town")
METHOD = {
    "kind": "search",
    "pool": ["", "Name the kind.", "Where is it? Name the place."],
    "keep": 2,
    "children": 2,
    "generations": 2,
    "start": 4,
}


def place_rows(count: int = 48) -> list[dict[str, str]]:
    """Return texts of two kinds."""
    wheres = ("by the river", "in the town")
    return [{"text": f"The inn {n} is {wheres[n % 2]}.", "label": LABELS[n % 2].replace(" ", "_")} for n in range(count)]


def prompting_job(backbone, **changes):
    """Return a job of 3 clients that searches a prompt; `changes` are dotted settings with __ for the dots."""
    job = Job.from_dict(
        {
            "name": "tiny",
            "backbone": str(backbone),
            "task": {"kind": "label-likelihood", "labels": [label.replace(" ", "_") for label in LABELS], "max_tokens": 40},
            "data": {"train": "given-in-memory.jsonl"},
            "clients": {"count": 3, "min_examples": 4, "validation_share": 0.3, "test_share": 0.2},
            "protocol": {"kind": "prompting", "method": METHOD, "few": 2},
            "precision": "float32",
            "threads": 1,
        }
    )
    for name, value in changes.items():
        job = job.replace(name.replace("__", "."), value)
    return job
