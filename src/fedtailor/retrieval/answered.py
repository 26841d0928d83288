"""An answer with its sources as plain values, for those who read it by program."""

from typing import Any

from .collection import Asked


def record(one: Asked) -> dict[str, Any]:
    """Return an answer as a value for JSON."""
    sources = [
        {
            "client": hit.client,
            "source": hit.source,
            "id": hit.passage.id,
            "file": hit.passage.file,
            "page": hit.passage.page or None,
            "title": hit.passage.title,
            "score": hit.score,
            "cosine": hit.cosine,
            "bm25": hit.bm25,
            "text": hit.passage.text,
            "twins": [list(twin) for twin in hit.twins],
        }
        for hit in one.found.hits
    ]
    cited = [evidence.hit + 1 for evidence in one.answer.evidence[:1]]
    return {
        "question": one.found.question,
        "answer": one.answer.text,
        "supported": one.answer.supported,
        "cited": cited,
        "sources": sources,
        "asked": list(one.found.asked),
        "notes": list(one.found.notes),
    }
