"""Signatures as questions, and sentences of docstrings as the passages that answer them."""

from pathlib import Path

LIBRARIES = ("numpy", "pandas", "scipy", "sklearn")
PASSAGES, QUESTIONS = 60, 15  # of each library


def write(folder: Path) -> None:
    """Write passages.parquet (id, title, text) and questions.parquet (question, answers, passage_id)."""
    import pandas as pd

    from ...data.docstrings import load_docstrings

    examples = load_docstrings(LIBRARIES, PASSAGES)
    passages = [{"id": one.id, "title": one.fields["library"], "text": one.fields["target"]} for one in examples]
    asked = [one for place, one in enumerate(examples) if place % (PASSAGES // QUESTIONS) == 0]
    questions = [
        {"question": _question(str(one.fields["input"])), "answers": [one.fields["target"]], "passage_id": one.id}
        for one in asked
    ]
    pd.DataFrame(passages).to_parquet(folder / "passages.parquet")
    pd.DataFrame(questions).to_parquet(folder / "questions.parquet")


def _question(signature: str) -> str:
    """Return what is asked about a function: its name in words."""
    head = signature.rsplit("def ", 1)[-1].partition("(")[0]
    return f"What does {head.replace('_', ' ').strip()} do?"
