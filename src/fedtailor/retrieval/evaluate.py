"""How well a collection answers questions whose answers are known."""

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

from ..data.read import read_table
from ..errors import DataError
from ..metrics.answers import answer_f1, contains_answer, exact_match, recall_at, reciprocal_rank
from .federated import Federation
from .index import key_of
from .readers import Reader
from .search import Hit

RECALL_AT = (1, 5, 10)
BATCH = 64  # questions at a time


@dataclass(frozen=True, kw_only=True)
class Known:
    """A question with what is known of its answer."""

    question: str
    answers: Sequence[str]  # none: not known
    passage: str  # id of the document or passage that holds it; empty: not known


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Means over questions; a metric is absent where nothing is known to compute it from."""

    questions: int
    answerable: int  # whose passage some client holds: recall is over these
    metrics: dict[str, float]
    asked: float  # clients a question, mean


def read_questions(path: Path) -> list[Known]:
    """Return the questions of a table with the columns question, and answers or answer, or passage_id, or both.

    Raises:
        DataError: if a column is missing or a question is empty.
    """
    table = read_table(path)
    if "question" not in table.names:
        raise DataError(f"{path} has no column 'question'; it has {', '.join(map(repr, table.names))}")
    answers = next((name for name in ("answers", "answer") if name in table.names), None)
    if answers is None and "passage_id" not in table.names:
        raise DataError(f"{path} has neither answers (answers, answer) nor passages (passage_id), so nothing could be evaluated")
    given = table.column(answers) if answers else [None] * table.size
    passages = table.column("passage_id") if "passage_id" in table.names else [None] * table.size
    found = []
    for row, (question, answer, passage) in enumerate(zip(table.column("question"), given, passages, strict=True)):
        if question is None or not str(question).strip():
            raise DataError(f"{path}, {table.place(row)} has no question; leave the row out")
        found.append(Known(question=str(question), answers=_listed(answer), passage="" if passage is None else str(passage)))
    return found


def evaluate(
    federation: Federation,
    questions: Sequence[Known],
    reader: Reader | None = None,
    *,
    top_k: int = max(RECALL_AT),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Evaluation:
    """Return how well passages are found and questions answered; recall is over the questions whose passage a client holds."""
    held = _held(federation)
    rows: dict[str, list[float]] = {}
    asked = []
    for begin in range(0, len(questions), BATCH):
        progress(begin, len(questions))
        block = questions[begin : begin + BATCH]
        found = federation.search([one.question for one in block], top_k)
        asked += [len(one.asked) for one in found]
        read = reader.read([one.question for one in block], [one.hits for one in found]) if reader else [None] * len(block)
        for known, answer, one in zip(block, read, found, strict=True):
            if known.passage in held:
                names = [known.passage if _is(hit, known.passage, held) else hit.passage.id for hit in one.hits]
                for k in (k for k in RECALL_AT if k <= top_k):
                    rows.setdefault(f"recall@{k}", []).append(recall_at(names, {known.passage}, k))
                rows.setdefault("mrr", []).append(reciprocal_rank(names, {known.passage}))
            if known.answers and answer is not None:
                for name, metric in (("exact_match", exact_match), ("f1", answer_f1), ("contains", contains_answer)):
                    rows.setdefault(name, []).append(metric(answer.text, known.answers))
                rows.setdefault("supported", []).append(float(answer.supported))
    progress(len(questions), len(questions))
    return Evaluation(
        questions=len(questions),
        answerable=sum(one.passage in held for one in questions),
        metrics={name: fsum(values) / len(values) for name, values in rows.items()},
        asked=fsum(asked) / len(asked) if asked else 0.0,
    )


def _held(federation: Federation) -> dict[str, set[bytes]]:
    """Return the keys of the texts that each document, and each passage, has."""
    found: dict[str, set[bytes]] = {}
    for index in federation.clients.values():
        keys = [bytes(key) for key in index.keys]
        for name in ("document", "id"):
            for id, key in zip(index.passages.column(name).to_pylist(), keys, strict=True):
                found.setdefault(id, set()).add(key)
    return found


def _is(hit: Hit, passage: str, held: Mapping[str, set[bytes]]) -> bool:
    """Return whether a hit is of a passage or document, or of a twin of it."""
    return passage in (hit.passage.id, hit.passage.document) or key_of(hit.passage.text) in held[passage]


def _listed(answer: Any) -> list[str]:
    """Return right answers: a text, a list, or a list written as a text."""
    if answer is None:
        return []
    if isinstance(answer, list | tuple):
        return [str(one) for one in answer]
    text = str(answer)
    if text.startswith("[") and text.endswith("]"):
        for read in (json.loads, ast.literal_eval):
            try:
                found = read(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            if isinstance(found, list):
                return [str(one) for one in found]
    return [text]
