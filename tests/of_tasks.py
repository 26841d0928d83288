"""Three clients of three tasks, with a tiny Llama."""

from collections.abc import Sequence
from typing import Any

from jobs import tiny_job, tiny_rows

NAMES = ("menus", "bank", "prose")
INTENTS = ("card", "transfer", "cash")
INTENT = {"kind": "generation", "template": "{input}\nintent: {target}", "max_tokens": 60}
COLUMNS = {"input": "text", "target": "label"}
LINES = {"kind": "language-modeling", "block": 32}


def intents() -> list[dict[str, str]]:
    """Return questions, each with its intent."""
    return [{"text": f"My {what} number {n} is missing", "label": what} for n in range(10) for what in INTENTS]


def of_three(names: Sequence[str] = NAMES) -> dict[str, list[dict[str, str]]]:
    """Return the examples of three clients, each for another task."""
    lines = [{"text": f"{row['target']} It is near the river, number {n}."} for n, row in enumerate(tiny_rows())]
    return dict(zip(names, (tiny_rows()[:30], intents(), lines), strict=True))


def of_tasks(backbone: Any, names: Sequence[str] = NAMES, **changes: Any) -> Any:
    """Return a job in which the first client has the job's task, and the two others have others."""
    tasks = {names[1]: {"task": INTENT, "columns": COLUMNS}, names[2]: {"task": LINES}}
    usual = {"clients__count": None, "clients__overrides": tasks, "stop__rounds": 2, "evaluation__metrics": ["bleu", "rouge1"]}
    return tiny_job(backbone, **usual | changes)
