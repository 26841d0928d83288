"""Documents of three clients and questions on them, asked in seconds."""

from fedtailor.job import Job

WORDS = "tea milk bread salt rice corn plum bean hot cold old new".split()


def document_rows() -> list[dict[str, str]]:
    """Return twelve documents under five titles."""
    return [{"id": f"p{n}", "title": f"t{n % 5}", "text": f"The {word} is {WORDS[-n - 1]}."} for n, word in enumerate(WORDS)]


def question_rows() -> list[dict[str, object]]:
    """Return a question on each document."""
    return [
        {"question": f"what is {word} {WORDS[-n - 1]}", "passage_id": f"p{n}", "answers": [WORDS[-n - 1]]}
        for n, word in enumerate(WORDS)
    ]


def documents() -> dict[str, object]:
    """Return both, as data in memory."""
    return {"train": document_rows(), "test": question_rows()}


def retrieval_job(backbone, **changes):
    """Return a job of three clients; `changes` are dotted settings with __ for the dots."""
    job = Job.from_dict(
        {
            "name": "tiny",
            "backbone": str(backbone),
            "task": {"kind": "question-answering"},
            "data": {"train": "given-in-memory.jsonl"},
            "clients": {"count": 3, "partition": {"kind": "natural", "by": "title"}},
            "protocol": {"kind": "retrieval", "top_k": 2},
            "threads": 1,
        }
    )
    for name, value in changes.items():
        job = job.replace(name.replace("__", "."), value)
    return job
