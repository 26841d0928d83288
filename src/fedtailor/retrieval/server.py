"""The server's part of a question: it asks clients for scores, fetches what won, and holds it against what was said of it.

A client that does not answer, or says what its passages do not hold, is left out of the question, and the next best take its winners' places.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count

import numpy as np
import torch

from ..errors import SettingError
from ..messages import Record
from .asking import Asking, Found, Place, Send, Won, check_top_k, passage_in
from .catalogue import unfit
from .client_answers import with_answers
from .counted import statistics_of
from .embedder import Embedder, Remembering
from .messages import MOST_QUESTIONS, Ask, Catalogue, Count, Fetch, Fetched, Scored
from .passages import Passage
from .question import SentQuestion
from .router import Routing, choose_clients
from .search import Score, check_question
from .share import check_fetch, check_share
from .standing import Standing
from .terms import Statistics
from .vectors import search_vectors
from .verify import Verified, verify

MOST_REMEMBERED = 20_000  # passages whose vectors are not computed twice, 30 MB of MiniLM


@dataclass(kw_only=True)
class Server:
    """Asks clients whose catalogues are known."""

    catalogues: Mapping[str, Catalogue]
    embedder: Embedder
    send: Send
    score: Score = field(default_factory=Score)
    asks: Embedder | None = None  # of questions, where a run has trained one; None: that of passages
    routing: Routing | None = None
    share: str = "passages"
    verify: bool = False  # embed the passages that came, and leave out clients that stated wrong cosines
    shared_statistics: bool = False
    question: SentQuestion = field(default_factory=SentQuestion)
    fetch: int = (
        0  # passages that are fetched and scored here before top_k are left; 0: top_k, in the order of what clients stated
    )
    standing: Standing = field(default_factory=Standing)
    exchanges: Iterator[int] = field(default_factory=count)
    strange: Callable[[str], None] = lambda client: None  # called with a client whose answer is not what was asked for

    def __post_init__(self) -> None:
        check_share(self.share)
        for name, reported in self.catalogues.items():
            if why := unfit(name, reported, self.share, self.embedder, self.question):
                raise SettingError(why)
        if self.verify and self.share != "passages":
            raise SettingError(
                f"verify embeds whole passages, and share: {self.share} lets none out; choose share: passages, or leave verify out"
            )
        self.question.check(score=self.score.kind, share=self.share, shared_statistics=self.shared_statistics)
        check_fetch(self.fetch, self.share)
        if self.share == "embeddings" and (self.score.kind != "dense" or self.routing):
            raise SettingError(
                "share: embeddings searches vectors at the server, where there are no words, and no client is asked: it goes with score: dense "
                "and without router"
            )

    @property
    def _apart(self) -> set[str]:
        """The clients of other embedders: each is asked in its own space, and what it gives is scored here."""
        return {name for name, reported in self.catalogues.items() if reported.embedder != self.embedder.sha256}

    @cached_property
    def _remembering(self) -> Remembering:
        return Remembering(self.embedder, MOST_REMEMBERED)

    def search(self, questions: Sequence[str], top_k: int = 5) -> list[Found]:
        """Return the best passages of all clients for each question; what is shared decides what a hit holds.

        Raises:
            SettingError: if a question is empty or too long, or top_k is none.
        """
        check_top_k(top_k)
        texts = [check_question(text) for text in questions]
        found: list[Found] = []
        for begin in range(0, len(texts), MOST_QUESTIONS):
            found += self._search(texts[begin : begin + MOST_QUESTIONS], top_k)
        return found

    def _search(self, texts: Sequence[str], top_k: int) -> list[Found]:
        vectors = (self.asks or self.embedder).embed(texts)
        if self.share == "embeddings":
            return search_vectors(self.catalogues, texts, vectors, top_k)
        sent = self.question.vectors(vectors)
        most = max(top_k, self.fetch)
        asking = Asking(
            exchange=next(self.exchanges),
            texts=texts,
            vectors=sent,
            most=most,
            chosen=self._chosen(sent),
            apart=self._apart,
            most_apart=top_k,
        )
        self._take_scores(asking)
        self._judge_centroids(asking)
        if self.share in ("passages", "snippets"):
            found = [replace(one, hits=one.hits[:top_k]) for one in self._with_passages(asking, vectors)]
        else:
            found = [asking.found(n, won, {}) for n, won in enumerate(asking.won())]
            found = with_answers(asking, found, self.send, self.strange) if self.share == "answers" else found
        notes = self.standing.notes()
        return [replace(one, notes=[*one.notes, *notes]) for one in found]

    def _chosen(self, vectors: np.ndarray) -> list[set[str]]:
        names = {name for name in self.catalogues if not self.standing.is_sidelined(name)}
        if self.routing is None:
            return [set(names) for _ in vectors]
        reported = self.routing.centroids
        believed = {name: reported[name] for name in names & reported.keys() if self.standing.is_believed(name)}
        return [chosen | (names - believed.keys()) for chosen in choose_clients(believed, vectors, self.routing.margin)]

    def _take_scores(self, asking: Asking) -> None:
        """Ask each client for the scores of its best passages: the first exchange."""
        known = self._statistics(asking.texts) if self.shared_statistics else []
        requests: dict[str, Record] = {}
        for name in sorted(self.catalogues):
            if mine := asking.questions_of(name):
                of_all = [known[n] for n in mine] if known else []
                requests[name] = Ask(
                    exchange=asking.exchange,
                    most=asking.most,
                    questions=[asking.texts[n] for n in mine] if self.question.has_text else None,
                    vectors=None if name in asking.apart else torch.from_numpy(asking.vectors[mine]),
                    passages=of_all[0].passages if of_all else None,
                    words=of_all[0].words if of_all else None,
                    holding=[number for one in of_all for number in one.holding.values()] if of_all else None,
                )
        answers = self.send(requests)
        for name in requests:
            if not isinstance(scored := answers.get(name), Scored):
                asking.drop(name, "did not answer")
            elif not asking.take(name, scored, self.score):
                self.strange(name)

    def _statistics(self, texts: Sequence[str]) -> list[Statistics]:
        """Return the statistics of words over all clients, for each question; empty if no client gave any."""
        answers = self.send({name: Count(questions=list(texts)) for name in sorted(self.catalogues)})
        return statistics_of(texts, answers, self.catalogues, self.strange)

    def _judge_centroids(self, asking: Asking) -> None:
        """Hold each client's centroids against the cosines that it stated."""
        for name, reported in (self.routing.centroids if self.routing else {}).items():
            if not len(reported.vectors):
                continue
            nearest = (asking.vectors @ reported.vectors.astype(np.float32).T).max(axis=1)
            for n, cosine in enumerate(nearest):
                if (best := asking.best_cosine(name, n)) is not None:
                    self.standing.see(name, float(cosine), best)

    def _with_passages(self, asking: Asking, clean: np.ndarray) -> list[Found]:
        """Fetch the winners: the second exchange, and again where somebody is left out and the next best take its places.

        Args:
            clean: vectors of the questions without noise, by which what is scored here is ordered.
        """
        passages: dict[Place, Passage] = {}
        while True:
            won = asking.won()
            if missing := _missing(won, passages):
                self._fetch(asking, missing, passages)
                continue
            found = [asking.found(n, each, passages) for n, each in enumerate(won)]
            if not self.verify and not self.fetch and not asking.apart:
                return found
            checked = [self._verify(one, clean[n], asking.vectors[n], asking.apart) for n, one in enumerate(found)]
            if not self.verify:
                return [one.found for one in checked]
            for n, one in enumerate(checked):
                for client in one.lies:
                    self.standing.lies[client] += 1
                    asking.leave_out(client, n, "stated a cosine that its passage does not have, and is left out")
            if not any(one.lies for one in checked):
                return [one.found for one in checked]

    def _fetch(self, asking: Asking, missing: Mapping[Place, bool], passages: dict[Place, Passage]) -> None:
        mine = {name: [place for place in missing if place[1] == name] for name in sorted({place[1] for place in missing})}
        requests = {
            name: Fetch(
                exchange=asking.exchange,
                questions=asking.numbers(name, [n for n, _, _ in places]),
                places=[row for _, _, row in places],
                whole=[int(missing[place]) for place in places],
            )
            for name, places in mine.items()
        }
        answers = self.send(requests)
        for name, places in mine.items():
            fetched = answers.get(name)
            if not isinstance(fetched, Fetched) or not _fits(fetched, [missing[place] for place in places]):
                asking.drop(name, "did not give the passages that it had named; the next best are here in their place")
                if fetched is not None:
                    self.strange(name)
                continue
            for row, place in enumerate(places):
                passages[place] = passage_in(fetched, row)

    def _verify(self, found: Found, clean: np.ndarray, sent: np.ndarray, apart: Collection[str]) -> Verified:
        sizes = {name: reported.passages for name, reported in self.catalogues.items()}
        return verify(found, clean, self._remembering, self.score, sizes, sent=sent, apart=apart)


def _missing(won: Sequence[Won], passages: Mapping[Place, Passage]) -> dict[Place, bool]:
    """Return what is still to be fetched, and whether with its text: of twins the source is enough."""
    found: dict[Place, bool] = {}
    for n, best in enumerate(won):
        for first, twins in best:
            place = (n, first.client, first.row)
            if place not in passages or not passages[place].text:
                found[place] = True
            found |= {(n, twin.client, twin.row): False for twin in twins if (n, twin.client, twin.row) not in passages}
    return found


def _fits(fetched: Fetched, whole: Sequence[bool]) -> bool:
    """Return whether a client gave what was asked for."""
    lists = (fetched.ids, fetched.files, fetched.documents, fetched.titles, fetched.pages, fetched.begins, fetched.ends)
    return {len(fetched.texts), *(len(one) for one in lists)} == {len(whole)} and all(
        text or not wanted for text, wanted in zip(fetched.texts, whole, strict=True)
    )
