"""Signatures as questions, and sentences of docstrings as the passages that answer them."""

import json
from pathlib import Path

LIBRARIES = ("numpy", "pandas", "scipy", "sklearn")
PASSAGES, QUESTIONS = 60, 15  # of each library


def write(folder: Path) -> None:
    """Write passages.jsonl (id, title, text) and questions.jsonl (question, answers, passage_id)."""
    from ...data.docstrings import load_docstrings
    from ...storage import write_text

    examples = load_docstrings(LIBRARIES, PASSAGES)
    passages = [{"id": one.id, "title": one.fields["library"], "text": one.fields["target"]} for one in examples]
    asked = [one for place, one in enumerate(examples) if place % (PASSAGES // QUESTIONS) == 0]
    questions = [
        {"question": _question(str(one.fields["input"])), "answers": [one.fields["target"]], "passage_id": one.id}
        for one in asked
    ]
    for name, rows in (("passages", passages), ("questions", questions)):
        write_text(folder / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def _question(signature: str) -> str:
    """Return what is asked about a function: its name in words."""
    head = signature.rsplit("def ", 1)[-1].partition("(")[0]
    return f"What does {head.replace('_', ' ').strip()} do?"
