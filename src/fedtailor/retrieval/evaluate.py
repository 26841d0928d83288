"""How well a collection answers questions whose answers are known."""

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from pathlib import Path
from typing import Any

from ..data.read import read_table
from ..errors import DataError
from ..metrics.answers import answer_f1, contains_answer, exact_match, recall_at, reciprocal_rank
from .asking import Found
from .federated import Federation
from .index import key_of
from .passages import Passage
from .readers import Answer, Reader

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
    down_bytes: float = 0.0  # of all messages to clients, a question
    up_bytes: float = 0.0  # of all messages from clients, a question
    texts: float = 0.0  # passages, snippets or answers that left a client, a question
    notes: Sequence[str] = ()  # what was said of clients, each once


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
    asked, notes, before = [], dict.fromkeys(federation.server.standing.notes()), replace(federation.traffic)
    for begin in range(0, len(questions), BATCH):
        progress(begin, len(questions))
        block = questions[begin : begin + BATCH]
        found = federation.search([one.question for one in block], top_k)
        asked += [len(one.asked) for one in found]
        notes |= dict.fromkeys(note for one in found for note in one.notes)
        for known, answer, one in zip(block, _answers(federation, reader, found), found, strict=True):
            passages = federation.passages_of(one)
            if known.passage in held:
                names = [known.passage if _is(passage, known.passage, held) else passage.id for passage in passages]
                for k in (k for k in RECALL_AT if k <= top_k):
                    rows.setdefault(f"recall@{k}", []).append(recall_at(names, {known.passage}, k))
                rows.setdefault("mrr", []).append(reciprocal_rank(names, {known.passage}))
            if known.answers and answer is not None:
                for name, metric in (("exact_match", exact_match), ("f1", answer_f1), ("contains", contains_answer)):
                    rows.setdefault(name, []).append(metric(answer.text, known.answers))
                if federation.share != "answers":
                    rows.setdefault("supported", []).append(float(answer.supported))
    progress(len(questions), len(questions))
    share, sent = max(1, len(questions)), federation.traffic
    return Evaluation(
        questions=len(questions),
        answerable=sum(one.passage in held for one in questions),
        metrics={name: fsum(values) / len(values) for name, values in rows.items()},
        asked=fsum(asked) / share,
        down_bytes=(sent.down - before.down) / share,
        up_bytes=(sent.up - before.up) / share,
        texts=(sent.texts - before.texts) / share,
        notes=list(notes),
    )


def evaluate_alone(
    federation: Federation,
    questions: Sequence[Known],
    reader: Reader | None = None,
    *,
    top_k: int = max(RECALL_AT),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, dict[str, float]]:
    """Return the metrics of each client's own index without the others; recall is over what any client holds."""
    held = set(_held(federation))
    known = [one if one.passage in held else replace(one, passage="") for one in questions]
    found = {}
    for place, (name, index) in enumerate(sorted(federation.clients.items())):
        progress(place, len(federation.clients))
        alone = Federation(clients={name: index}, embedder=federation.embedder, score=federation.score)
        metrics = evaluate(alone, known, reader, top_k=top_k).metrics
        share = sum(one.passage in _held(alone) for one in known) / max(1, sum(bool(one.passage) for one in known))
        names = ["mrr", *(f"recall@{k}" for k in RECALL_AT if k <= top_k)] if any(one.passage for one in known) else []
        found[name] = {**metrics, **{metric: metrics.get(metric, 0.0) * share for metric in names}}
    return found


def _answers(federation: Federation, reader: Reader | None, found: Sequence[Found]) -> Sequence[Answer | None]:
    """Return the answers: of the clients where these answer, of the reader where it has something to read."""
    if federation.share == "answers":
        return [None if one.answer is None else Answer(text=one.answer[0], evidence=[], supported=True) for one in found]
    if reader is None or federation.share not in ("passages", "snippets"):
        return [None] * len(found)
    return reader.read([one.question for one in found], [one.hits for one in found])


def _held(federation: Federation) -> dict[str, set[bytes]]:
    """Return the keys of the texts that each document, and each passage, has."""
    found: dict[str, set[bytes]] = {}
    for index in federation.clients.values():
        keys = [bytes(key) for key in index.keys]
        for name in ("document", "id"):
            for id, key in zip(index.passages.column(name).to_pylist(), keys, strict=True):
                found.setdefault(id, set()).add(key)
    return found


def _is(found: Passage, passage: str, held: Mapping[str, set[bytes]]) -> bool:
    """Return whether what was found is a passage or of a document, or a twin of it."""
    return passage in (found.id, found.document) or key_of(found.text) in held[passage]


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
