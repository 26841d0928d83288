"""One block of questions under way: who was asked, what came back, and who is left out."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from ..errors import SettingError
from ..messages import Record
from .messages import Fetched, Scored
from .passages import Passage
from .search import Candidate, Hit, Score, merge

Won: TypeAlias = Sequence[tuple[Candidate, Sequence[Candidate]]]  # the best candidates of a question, each with its twins
Send: TypeAlias = Callable[
    [Mapping[str, Record]], Mapping[str, Record]
]  # a request for each client -> answers of those that answered
Place: TypeAlias = tuple[int, str, int]  # number of the question, client, place among its candidates
HIDDEN = Passage(
    id="", file="", document="", title="", page=0, begin=0, end=0, text=""
)  # of which no more is known than its score


@dataclass(frozen=True, kw_only=True)
class Found:
    """The answer of all clients to one question."""

    question: str
    hits: Sequence[Hit]  # best first; their passages have what clients let out
    asked: Sequence[str]  # clients that were given the question
    candidates: int  # scores that came back
    notes: Sequence[str] = ()
    answer: tuple[str, str, float] | None = None  # read at a client: text, client, cosine of its sentence with the question
    exchange: int = -1  # in which clients named the passages
    sent: np.ndarray | None = None  # the vector that went out, float32 [W]


@dataclass(kw_only=True)
class Asking:
    """What is known of a block of questions so far."""

    exchange: int
    texts: Sequence[str]
    vectors: np.ndarray  # that go out, float32 [Q, W], of length 1
    most: int  # candidates of a question that are asked for, and that win
    chosen: Sequence[set[str]]  # clients that are asked, for each question
    apart: Collection[str] = ()  # clients of other embedders, whose scores compare with nobody's
    most_apart: int = 0  # candidates of each of these that win
    _candidates: dict[str, dict[int, list[Candidate]]] = field(default_factory=dict)  # by client and question
    _left_out: dict[tuple[str, int], str] = field(default_factory=dict)  # client and question -> why

    def questions_of(self, client: str) -> list[int]:
        """Return the numbers of the questions that a client is given, in the order in which it gets them."""
        return [n for n, chosen in enumerate(self.chosen) if client in chosen]

    def take(self, client: str, scored: Scored, score: Score) -> bool:
        """Take the scores of a client, or leave it out if they are not what was asked for; return which."""
        cosines = [] if scored.cosines is None else scored.cosines.tolist()
        words = [0.0] * len(cosines) if scored.bm25 is None else scored.bm25.tolist()
        mine = self.questions_of(client)
        fits = (
            len(scored.counts) == len(mine)
            and max(scored.counts, default=0) <= self.most
            and sum(scored.counts) == len(cosines) == len(words) == len(scored.keys)
        )
        if not fits:
            self.drop(client, "sent scores that are not those that it was asked for")
            return False
        flat = iter(zip(scored.keys, cosines, words, strict=True))
        self._candidates[client] = {
            n: [
                Candidate(client=client, row=place, key=key, score=score.total(cosine, bm25), cosine=cosine, bm25=bm25)
                for place, (key, cosine, bm25) in zip(range(count), flat)  # noqa: B905 - takes the next `count`
            ]
            for n, count in zip(mine, scored.counts, strict=True)
        }
        return True

    def of(self, question: int) -> list[list[Candidate]]:
        """Return the candidates of each client that counts, for a question."""
        return [
            some[question]
            for client, some in self._candidates.items()
            if question in some and (client, question) not in self._left_out
        ]

    def best_cosine(self, client: str, question: int) -> float | None:
        """Return the largest cosine that a client stated for a question; None if it was not asked, or does not count."""
        if (client, question) in self._left_out or question not in self._candidates.get(client, {}):
            return None
        return max((one.cosine for one in self._candidates[client][question]), default=-1.0)

    def won(self) -> list[Won]:
        """Return the best candidates of each question, and those of each client whose scores compare with nobody's."""
        return [self._won(n) for n in range(len(self.texts))]

    def _won(self, question: int) -> Won:
        alike = [some for some in self.of(question) if not some or some[0].client not in self.apart]
        found = {one.key: (one, twins) for one, twins in merge(alike, self.most)}
        for some in self.of(question):
            if some and some[0].client in self.apart:
                for one, twins in merge([some], self.most_apart):
                    first = found.setdefault(one.key, (one, twins))
                    if first[0] is not one:
                        found[one.key] = (first[0], [*first[1], one, *twins])
        return list(found.values())

    def drop(self, client: str, why: str) -> None:
        """Leave a client out of all questions of the block."""
        for n in self.questions_of(client):
            self.leave_out(client, n, why)

    def leave_out(self, client: str, question: int, why: str) -> None:
        """Leave a client out of one question."""
        self._left_out.setdefault((client, question), why)

    def numbers(self, client: str, questions: Sequence[int]) -> list[int]:
        """Return the numbers that a client knows questions by."""
        known = {n: place for place, n in enumerate(self.questions_of(client))}
        return [known[n] for n in questions]

    def found(self, question: int, won: Won, passages: dict[Place, Passage]) -> Found:
        """Return what was found for a question."""
        hits = [
            Hit(
                client=one.client,
                passage=passages.get((question, one.client, one.row), HIDDEN),
                score=one.score,
                cosine=one.cosine,
                bm25=one.bm25,
                place=(self.numbers(one.client, [question])[0], one.row),
                twins=[(twin.client, passages.get((question, twin.client, twin.row), HIDDEN).id) for twin in twins],
            )
            for one, twins in won
        ]
        return Found(
            question=self.texts[question],
            hits=hits,
            asked=sorted(self.chosen[question]),
            candidates=sum(map(len, self.of(question))),
            notes=[f"client {client} {why}" for (client, n), why in self._left_out.items() if n == question],
            exchange=self.exchange,
            sent=self.vectors[question],
        )


def passage_in(fetched: Fetched, row: int) -> Passage:
    """Return one of the passages in a message."""
    return Passage(
        id=fetched.ids[row],
        file=fetched.files[row],
        document=fetched.documents[row],
        title=fetched.titles[row],
        page=fetched.pages[row],
        begin=fetched.begins[row],
        end=fetched.ends[row],
        text=fetched.texts[row],
    )


def check_top_k(top_k: int) -> None:
    """Raise SettingError unless so many passages may be asked for."""
    if not 1 <= top_k <= 1000:
        raise SettingError(f"top_k is the number of passages, from 1 to 1000; got {top_k!r}")
