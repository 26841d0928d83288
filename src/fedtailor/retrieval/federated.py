"""A question to several clients: scores first, then the passages that won; the others' texts never leave their clients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add

from ..errors import SettingError
from .embedder import Embedder
from .index import Index, check_fits
from .passages import Passage
from .router import Centroids, choose_clients
from .search import Candidate, Hit, Question, Score, best_of_client, check_question, fetched, merge
from .terms import Statistics


@dataclass(frozen=True, kw_only=True)
class Found:
    """The answer of all clients to one question."""

    question: str
    hits: Sequence[Hit]  # best first
    asked: Sequence[str]  # clients that were given the question
    candidates: int  # scores that came back
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Routing:
    """Which clients are asked: those that hold something near the question."""

    centroids: Mapping[str, Centroids]
    margin: float = 0.2  # a client is asked if its nearest centroid's cosine is at most this much below the best client's

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 2:
            raise SettingError(f"router.margin is a difference of cosines, from 0 to 2; got {self.margin!r}")


@dataclass(frozen=True, kw_only=True)
class Federation:
    """The indexes of several clients, made by one embedder."""

    clients: Mapping[str, Index]
    embedder: Embedder
    score: Score = field(default_factory=Score)
    routing: Routing | None = None
    shared_statistics: bool = (
        False  # weigh words by their counts over all clients: exactly as one index; else each client by its own
    )

    def __post_init__(self) -> None:
        if not self.clients:
            raise SettingError("there is no client to ask; index a folder first")
        for name, index in self.clients.items():
            check_fits(index.meta, f"of {name}", self.embedder)

    def search(self, questions: Sequence[str], top_k: int = 5) -> list[Found]:
        """Return the best passages of all clients for each question.

        Raises:
            SettingError: if a question is empty or too long, or top_k is none.
        """
        if not 1 <= top_k <= 1000:
            raise SettingError(f"top_k is the number of passages, from 1 to 1000; got {top_k!r}")
        texts = [check_question(text) for text in questions]
        if not texts:
            return []
        vectors = self.embedder.embed(texts)
        asked = [Question(text=text, vector=vector) for text, vector in zip(texts, vectors, strict=True)]
        chosen = (
            choose_clients(self.routing.centroids, vectors, self.routing.margin)
            if self.routing
            else [set(self.clients)] * len(asked)
        )
        answers = self._scores(asked, chosen, top_k)
        return [self._fetch(*each, top_k) for each in zip(asked, chosen, answers, strict=True)]

    def _scores(self, questions: Sequence[Question], chosen: Sequence[set[str]], top_k: int) -> list[list[list[Candidate]]]:
        """Return the candidates of each client that is asked, for each question: the first of two exchanges."""
        found: list[list[list[Candidate]]] = [[] for _ in questions]
        for name in sorted(self.clients):
            index = self.clients[name]
            places = [place for place, clients in enumerate(chosen) if name in clients]
            mine = [questions[place] for place in places]
            known = [self._statistics(question.text) for question in mine] if self.shared_statistics else None
            for place, answer in zip(places, best_of_client(index, mine, top_k, self.score, known), strict=True):
                found[place].append(answer)
        return found

    def _statistics(self, question: str) -> Statistics:
        return reduce(add, (index.terms.statistics(question) for index in self.clients.values()))

    def _fetch(self, question: Question, chosen: set[str], answers: Sequence[Sequence[Candidate]], top_k: int) -> Found:
        """Return the winners with their texts: the second exchange."""
        won = merge(answers, top_k)
        texts: dict[tuple[str, int], Passage] = {}
        for name in {one.client for one, _ in won}:
            mine = [one for one, _ in won if one.client == name]
            texts |= {(name, one.row): passage for one, passage in zip(mine, fetched(self.clients[name], mine), strict=True)}
        hits = [
            Hit(
                client=one.client,
                passage=texts[one.client, one.row],
                score=one.score,
                cosine=one.cosine,
                bm25=one.bm25,
                twins=[(twin.client, twin.id) for twin in twins],
            )
            for one, twins in won
        ]
        return Found(question=question.text, hits=hits, asked=sorted(chosen), candidates=sum(map(len, answers)))
