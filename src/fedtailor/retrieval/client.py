"""The client's part of a question: it scores its passages, and lets out of those that win what it allows."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch

from ..errors import ClientError, SettingError
from ..messages import Record
from .allows import Allows, QueryLog
from .embedder import Embedder
from .index import Index
from .messages import Answered, Ask, Catalogue, Count, Counted, Describe, Fetch, Fetched, Read, Scored
from .passages import Passage
from .readers import Reader, evidence_for
from .router import find_centroids
from .search import Candidate, Hit, Question, Score, best_of_client, fetched
from .share import ANSWER, SNIPPET, permits
from .terms import Statistics, words_of

KEPT = 4  # exchanges whose candidates are remembered


@dataclass(kw_only=True)
class RetrievalClient:
    """Answers the server's requests from one index."""

    index: Index
    embedder: Embedder
    reader: Reader
    score: Score = field(default_factory=Score)
    share: str = "passages"  # what is asked for
    log: QueryLog = field(default_factory=lambda: QueryLog(allows=Allows()))  # what the client allows, and was asked
    seed: int = 0  # of its centroids
    _given: dict[int, tuple[Sequence[str], list[list[Candidate]]]] = field(default_factory=dict)

    def answer(self, asked: Record) -> Record:
        """Return the answer to a request.

        Raises:
            SettingError: if it asks for more than the client allows.
            ClientError: if it asks too often, or for what was never named.
        """
        match asked:
            case Describe():
                return self._describe(asked)
            case Count():
                return self._count(asked)
            case Ask():
                return self._score(asked)
            case Fetch():
                return self._fetch(asked)
            case Read():
                return self._read(asked)
        raise ClientError(f"a request {asked.kind!r} came, which is none of retrieval")

    def passage_at(self, exchange: int, question: int, place: int) -> Passage:
        """Return a candidate's passage, for those who measure on the client's own machine."""
        return fetched(self.index, [self._candidate(exchange, question, place)])[0]

    def _describe(self, asked: Describe) -> Catalogue:
        centroids = None
        if asked.count and asked.embedder == self.embedder.sha256:
            centroids = find_centroids(self.index.vectors, asked.count, seed=self.seed, smallest=asked.smallest)
        vectors = None
        if self.share == "embeddings" and permits(self.log.allows.share, "embeddings"):
            vectors = torch.from_numpy(np.asarray(self.index.vectors, dtype=np.float16))
        return Catalogue(
            passages=self.index.size,
            embedder=self.embedder.sha256,
            share=self.log.allows.share,
            sizes=None if centroids is None else list(centroids.sizes),
            centroids=None if centroids is None else torch.from_numpy(centroids.vectors),
            vectors=vectors,
        )

    def _count(self, asked: Count) -> Counted:
        holding, found = [], self.index.terms.statistics(" ".join(asked.questions))
        for question in asked.questions:
            holding += [found.holding.get(word, 0) for word in dict.fromkeys(words_of(question))]
        return Counted(passages=found.passages, words=found.words, holding=holding)

    def _score(self, asked: Ask) -> Scored:
        questions = self._questions_in(asked)
        self.log.take([one.text or f"vector {hashlib.sha256(one.mark).hexdigest()[:16]}" for one in questions])
        found = best_of_client(self.index, questions, asked.most, self.score, _statistics(asked))
        self._given[asked.exchange] = (asked.questions or (), found)
        for old in list(islice(self._given, max(0, len(self._given) - KEPT))):
            del self._given[old]
        flat = [one for some in found for one in some]
        return Scored(
            counts=[len(some) for some in found],
            keys=[one.key for one in flat],
            cosines=torch.tensor([one.cosine for one in flat], dtype=torch.float64),
            bm25=None if self.score.kind == "dense" else torch.tensor([one.bm25 for one in flat], dtype=torch.float64),
        )

    def _questions_in(self, asked: Ask) -> list[Question]:
        if asked.vectors is None and asked.questions is None:
            raise ClientError("neither a question nor its vector came")
        vectors = self.embedder.embed(asked.questions or ()) if asked.vectors is None else asked.vectors.numpy()
        texts = [""] * len(vectors) if asked.questions is None else asked.questions
        return [Question(text=text, vector=vector) for text, vector in zip(texts, vectors, strict=True)]

    def _fetch(self, asked: Fetch) -> Fetched:
        level = "snippets" if self.share == "snippets" else "passages"
        self._check_allowed(level, "its passages")
        found = self._passages(asked.exchange, asked.questions, asked.places)
        texts = [passage.text if whole else "" for passage, whole in zip(found, asked.whole, strict=True)]
        if level == "snippets":
            texts = self._snippets(asked, found)
        return Fetched(
            texts=texts,
            ids=[passage.id for passage in found],
            files=[passage.file for passage in found],
            documents=[passage.document for passage in found],
            titles=[passage.title for passage in found],
            pages=[passage.page for passage in found],
            begins=[passage.begin for passage in found],
            ends=[passage.end for passage in found],
        )

    def _snippets(self, asked: Fetch, passages: Sequence[Passage]) -> list[str]:
        questions = [self._questions(asked.exchange)[number] for number in asked.questions]
        wanted = [place for place, whole in enumerate(asked.whole) if whole]
        evidence = evidence_for(
            self.embedder, [questions[place] for place in wanted], [[_hit(self.index, passages[place])] for place in wanted]
        )
        found = ["" for _ in passages]
        for place, sentences in zip(wanted, evidence, strict=True):
            found[place] = sentences[0].text[:SNIPPET] if sentences else ""
        return found

    def _read(self, asked: Read) -> Answered:
        self._check_allowed("answers", "answers from its passages")
        found = self._passages(asked.exchange, asked.questions, asked.places)
        numbers = list(dict.fromkeys(asked.questions))
        hits = [
            [_hit(self.index, one) for one, its in zip(found, asked.questions, strict=True) if its == number]
            for number in numbers
        ]
        answers = self.reader.read([self._questions(asked.exchange)[number] for number in numbers], hits)
        return Answered(
            texts=[one.text[:ANSWER] for one in answers],
            cosines=[one.evidence[0].cosine if one.evidence else -1.0 for one in answers],
        )

    def _check_allowed(self, level: str, what: str) -> None:
        for most in (self.share, self.log.allows.share):
            if not permits(most, level):
                raise SettingError(f"the server asked for {what}, and this client shares {most} alone")

    def _questions(self, exchange: int) -> Sequence[str]:
        if not (texts := self._known(exchange)[0]):
            raise ClientError(f"the questions of exchange {exchange} came without their texts, which this answer needs")
        return texts

    def _known(self, exchange: int) -> tuple[Sequence[str], list[list[Candidate]]]:
        if exchange not in self._given:
            raise ClientError(f"exchange {exchange} is not known here: it is older than the last {KEPT}, or was never begun")
        return self._given[exchange]

    def _candidate(self, exchange: int, question: int, place: int) -> Candidate:
        found = self._known(exchange)[1]
        if question >= len(found) or place >= len(found[question]):
            raise ClientError(f"passage {place} of question {question} was never named in exchange {exchange}")
        return found[question][place]

    def _passages(self, exchange: int, questions: Sequence[int], places: Sequence[int]) -> list[Passage]:
        if len(questions) != len(places):
            raise ClientError(f"{len(places)} passages of {len(questions)} questions were asked for; each needs its question")
        return fetched(
            self.index, [self._candidate(exchange, question, place) for question, place in zip(questions, places, strict=True)]
        )


def _statistics(asked: Ask) -> list[Statistics] | None:
    """Return the statistics of all clients for each question, if they came with it."""
    if asked.passages is None or asked.words is None or asked.holding is None:
        return None
    found, begin = [], 0
    for question in asked.questions or ():
        words = list(dict.fromkeys(words_of(question)))
        holding = dict(zip(words, asked.holding[begin : begin + len(words)], strict=True))
        found.append(Statistics(passages=asked.passages, words=asked.words, holding=holding))
        begin += len(words)
    return found


def _hit(index: Index, passage: Passage) -> Hit:
    return Hit(client=index.client, passage=passage, score=0.0, cosine=0.0, bm25=0.0)
