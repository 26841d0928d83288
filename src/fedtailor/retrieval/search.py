"""What a client answers to a question: first scores of its best passages, then the texts of those that are asked for.

The score is cosine + weight * BM25, raw: it compares between clients, so the best of each client's best are the best of all. Ranks that
are fused within clients do not (recall@1 of 0.724 against 0.819 on the rag set).
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import numpy as np

from ..errors import SettingError
from ..limits import Number
from .index import Index
from .messages import LONGEST_QUESTION
from .passages import Passage
from .terms import Statistics

# N passages, Q questions, W width of vectors

Kind: TypeAlias = Literal["hybrid", "dense", "bm25"]
MARGIN = 2e-5  # more than products in float32 are off: what lies closer to the last that is taken is looked at in float64
MOST_SCORES = 20_000_000  # that are held at once


@dataclass(frozen=True, kw_only=True)
class Score:
    """How passages are ordered."""

    kind: Kind = "hybrid"
    bm25: Number = 0.05  # weight of BM25 beside the cosine; the best of validation questions is flat from 0.03 to 0.05

    def __post_init__(self) -> None:
        if self.kind not in ("hybrid", "dense", "bm25"):
            raise SettingError(f"score.kind is hybrid, dense or bm25; got {self.kind!r}")
        if not 0 <= self.bm25 <= 10:
            raise SettingError(f"score.bm25 is the weight of BM25, from 0 to 10; got {self.bm25!r}")

    def total(self, cosine: float, bm25: float) -> float:
        """Return the score of a passage."""
        return {"hybrid": cosine + self.bm25 * bm25, "dense": cosine, "bm25": bm25}[self.kind]


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question as clients get it."""

    text: str  # empty: clients do not get it
    vector: np.ndarray  # float32 [W], of length 1

    @property
    def mark(self) -> bytes:
        """What is the same at all clients that get it, and another for another question."""
        return self.text.encode("utf-8", "surrogatepass") or self.vector.tobytes()


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A passage that may be among the best, without its text."""

    client: str
    row: int  # in the client's index; to the server, its place among the client's candidates
    key: int  # that twins share; another one for another question
    score: float
    cosine: float
    bm25: float  # 0 where it shares no word with the question
    id: str = ""  # which the server does not know

    @property
    def order(self) -> tuple[float, int, str, str]:
        """What candidates are sorted by: the highest score first; those of one score by their texts' keys, then by client, then by id."""
        return (-self.score, self.key, self.client, self.id)


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A passage that was found."""

    client: str
    passage: Passage
    score: float
    cosine: float
    bm25: float
    twins: Sequence[tuple[str, str]] = ()  # client and id of passages with the same text
    place: tuple[int, int] = (-1, -1)  # at its client: number of the question in its exchange, and place among its candidates

    @property
    def source(self) -> str:
        """Where it stands, for people: client, file, and page or document; the client alone where it lets out no more."""
        if not self.passage.file:
            return self.client
        at = f", page {self.passage.page}" if self.passage.page else ""
        row = f", {self.passage.document}" if self.passage.document != self.passage.file else ""
        return f"{self.client}: {self.passage.file}{row}{at}"


def check_question(text: str) -> str:
    """Return a question in one line.

    Raises:
        SettingError: if there is none, or it is too long.
    """
    found = " ".join(text.split())
    if not found:
        raise SettingError("the question is empty; write one")
    if len(found) > LONGEST_QUESTION:
        raise SettingError(f"the question has {len(found):,} characters, and the most is {LONGEST_QUESTION:,}; shorten it")
    return found


def best_of_client(
    index: Index, questions: Sequence[Question], most: int, score: Score, known: Sequence[Statistics] | None = None
) -> list[list[Candidate]]:
    """Return a client's best passages for each question, best first, of different texts.

    Args:
        most: passages a question.
        known: for each question the statistics of words over all clients; the client's own if left out.
    """
    if not index.size:
        return [[] for _ in questions]
    found: list[list[Candidate]] = []
    step = max(1, MOST_SCORES // index.size)
    for begin in range(0, len(questions), step):
        block = questions[begin : begin + step]
        cosines_NQ = index.vectors @ np.stack([question.vector for question in block], axis=1)
        for place, question in enumerate(block):
            bm25_N = index.terms.scores(question.text, known[begin + place] if known else None) if score.kind != "dense" else None
            total_N = _total(cosines_NQ[:, place], bm25_N, score)
            found.append(_best(total_N, most, partial(_candidates, index, question, bm25_N, score)))
    return found


def _best(total_N: np.ndarray, most: int, look: Callable[[np.ndarray], list[Candidate]]) -> list[Candidate]:
    """Return the best candidates of different texts; `look` gives the candidates of rows."""
    size, wanted = len(total_N), most
    while True:
        wanted = min(wanted, size)
        last = np.partition(total_N, size - wanted)[size - wanted]
        found = merge([look(np.flatnonzero(total_N >= last - MARGIN))], most)
        if len(found) == most or wanted == size:
            return [one for one, _ in found]
        wanted *= 2  # some were twins


def _total(cosine_N: np.ndarray, bm25_N: np.ndarray | None, score: Score) -> np.ndarray:
    if score.kind == "bm25" and bm25_N is not None:
        return np.where(bm25_N > 0, bm25_N, -1.0)  # no word shared: not found
    return cosine_N if bm25_N is None else cosine_N + score.bm25 * bm25_N


def _candidates(index: Index, question: Question, bm25_N: np.ndarray | None, score: Score, rows: np.ndarray) -> list[Candidate]:
    # float64, row by row: a score depends on nothing but passage and question, so it is the same in every index
    cosines = (index.vectors[rows].astype(np.float64) * question.vector.astype(np.float64)).sum(axis=1)
    words = bm25_N[rows] if bm25_N is not None else np.zeros(len(rows))
    totals = _total(cosines, None if bm25_N is None else words, score)
    ids = index.passages.column("id").take(rows.astype(np.int64)).to_pylist()
    return [
        Candidate(
            client=index.client,
            id=id,
            row=int(row),
            key=_key(question, bytes(index.keys[row])),
            score=float(total),
            cosine=float(cosine),
            bm25=float(word),
        )
        for row, id, total, cosine, word in zip(rows, ids, totals, cosines, words, strict=True)
        if score.kind != "bm25" or word > 0
    ]


def _key(question: Question, text: bytes) -> int:
    """Return what equal texts share for one question: with another question the same text has another one, so that it cannot be followed."""
    return int.from_bytes(hashlib.sha256(question.mark + text).digest()[:8], "big", signed=True)


def merge(answers: Iterable[Sequence[Candidate]], most: int) -> list[tuple[Candidate, list[Candidate]]]:
    """Return the best of several clients' candidates, each with its twins: passages of the same text, further down.

    Where each client gives its `most` best, these are the `most` best of all: the same as of one index that holds everything, in the
    same order, as long as scores are computed with the same statistics.
    """
    found: dict[int, tuple[Candidate, list[Candidate]]] = {}
    for one in sorted((one for answer in answers for one in answer), key=lambda one: one.order):
        if one.key in found:
            found[one.key][1].append(one)
        elif len(found) < most:
            found[one.key] = (one, [])
    return list(found.values())


def fetched(index: Index, candidates: Sequence[Candidate]) -> list[Passage]:
    """Return the passages of a client's candidates."""
    return index.rows([one.row for one in candidates]) if candidates else []
