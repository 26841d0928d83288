"""How well a collection answers questions whose answers are known."""

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..data.cells import Unreadable, cell
from ..data.read import read_table
from ..errors import DataError
from .asking import Found
from .embedder import Embedder, Remembering
from .federated import Federation
from .index import Index
from .question import SentQuestion, Suspects
from .readers import Answer, Reader
from .tally import RECALL_AT, Known, Tally

BATCH = 64  # questions at a time


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
        if not isinstance(question, str) or not question.strip():
            raise DataError(f"{path}, {table.place(row)} has no question that is a text; leave the row out")
        if isinstance(answer, Unreadable | dict) or isinstance(passage, Unreadable | dict | list):
            raise DataError(
                f"{path}, {table.place(row)} has an answer or a passage_id that is no text; correct it, or leave the row out"
            )
        found.append(Known(question=str(question), answers=listed(answer), passage="" if passage is None else str(passage)))
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
    held = held_by(federation.clients)
    suspects = suspects_of(federation.question, federation.asks or federation.embedder, questions)
    tally = Tally(top_k=top_k)
    notes, before = dict.fromkeys(federation.server.standing.notes()), replace(federation.traffic)
    for begin in range(0, len(questions), BATCH):
        progress(begin, len(questions))
        block = questions[begin : begin + BATCH]
        found = federation.search([one.question for one in block], top_k)
        answers = answers_to(federation.share, reader, found)
        for n, (known, answer, one) in enumerate(zip(block, answers, found, strict=True), start=begin):
            tally.take(
                known,
                one,
                answer,
                passages=federation.passages_of(one),
                held=held,
                cited=federation.share != "answers",
                identified=identified(suspects, n, one),
            )
    progress(len(questions), len(questions))
    share, sent = max(1, len(questions)), federation.traffic
    return Evaluation(
        questions=len(questions),
        answerable=tally.answerable,
        metrics=tally.metrics(),
        asked=tally.asked / share,
        down_bytes=(sent.down - before.down) / share,
        up_bytes=(sent.up - before.up) / share,
        texts=(sent.texts - before.texts) / share,
        notes=list(notes | tally.notes),
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
    held = set(held_by(federation.clients))
    shared, asks = Remembering(federation.embedder), federation.asks and Remembering(federation.asks)
    known = [one if one.passage in held else replace(one, passage="") for one in questions]
    found = {}
    for place, (name, index) in enumerate(sorted(federation.clients.items())):
        progress(place, len(federation.clients))
        own = federation.embedders.get(name)
        alone = Federation(clients={name: index}, embedder=own or shared, asks=None if own else asks, score=federation.score)
        metrics = evaluate(alone, known, reader, top_k=top_k).metrics
        share = sum(one.passage in held_by(alone.clients) for one in known) / max(1, sum(bool(one.passage) for one in known))
        names = ["mrr", *(f"recall@{k}" for k in RECALL_AT if k <= top_k)] if any(one.passage for one in known) else []
        found[name] = {**metrics, **{metric: metrics.get(metric, 0.0) * share for metric in names}}
    return found


def suspects_of(question: SentQuestion, asks: Embedder, questions: Sequence[Known]) -> Suspects | None:
    """Return the questions as those among which one that went out is to be identified; None where the texts themselves go out."""
    if question.has_text or not questions:
        return None
    return Suspects(vectors_QW=asks.embed([" ".join(one.question.split()) for one in questions]))


def identified(suspects: Suspects | None, number: int, found: Found) -> bool | None:
    """Return whether a question is identified by the vector that went out; None where its text went out, or nothing did."""
    return None if suspects is None or found.sent is None else suspects.identifies(number, found.sent)


def answers_to(share: str, reader: Reader | None, found: Sequence[Found]) -> Sequence[Answer | None]:
    """Return the answers: of the clients where these answer, of the reader where it has something to read."""
    if share == "answers":
        return [None if one.answer is None else Answer(text=one.answer[0], evidence=[], supported=True) for one in found]
    if reader is None or share not in ("passages", "snippets"):
        return [None] * len(found)
    return reader.read([one.question for one in found], [one.hits for one in found])


def held_by(clients: Mapping[str, Index]) -> dict[str, set[bytes]]:
    """Return the keys of the texts that each document, and each passage, of these clients has."""
    found: dict[str, set[bytes]] = {}
    for index in clients.values():
        keys = [bytes(key) for key in index.keys]
        for name in ("document", "id"):
            for id, key in zip(index.passages.column(name).to_pylist(), keys, strict=True):
                found.setdefault(id, set()).add(key)
    return found


def listed(answer: Any) -> list[str]:
    """Return right answers: a text, a list, or a list written as a text."""
    if answer is None:
        return []
    if isinstance(answer, list | tuple):
        return _texts(answer)
    text = str(answer)
    if text.startswith("[") and text.endswith("]"):
        for read in (json.loads, ast.literal_eval):
            try:
                found = read(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            if isinstance(found, list):
                return _texts(found)
    return [text]


def _texts(answers: Sequence[object]) -> list[str]:
    """Return answers as texts, numbers as those of a table of data are written; what is no text is none."""
    return [str(one) for one in map(cell, answers) if isinstance(one, str)]
