"""Readers: an answer from the passages that were found, with the sentence it is from.

Passages are text: what they ask for is not done. A generative reader is given single sentences, each in one line, with marks of the
tokenizer encoded as plain text; and what it writes is held against the sentences that it was given.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..metrics.answers import normalized
from .asking import Found
from .embedder import Embedder
from .passages import sentences
from .search import Hit

MOST_PASSAGES = 3  # that sentences are taken from
MOST_SENTENCES = 200  # of these passages together
SHORTEST = 3  # words of a sentence that may be an answer, where there are longer ones
LONGEST_LINE = 600  # characters of a sentence that a model is given
EXAMPLES = (  # of a generative reader; their facts are no news to anyone
    (
        "The Nile flows through eleven countries and ends in the Mediterranean Sea.",
        "Where does the Nile end?",
        "the Mediterranean Sea",
    ),
    (
        "Marie Curie received the Nobel Prize in Chemistry in 1911.",
        "When did Marie Curie receive the prize in chemistry?",
        "1911",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A sentence, and the hit that it stands in."""

    text: str
    hit: int  # number of the hit, from 0
    cosine: float  # with the question


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a reader answers."""

    text: str  # empty: there was nothing to read
    evidence: Sequence[Evidence]  # best first
    supported: bool  # every word of the answer stands in its first evidence, in whatever order


class Reader(Protocol):
    """Makes answers of hits."""

    def read(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]]) -> list[Answer]:
        """Return the answer to each question."""


@dataclass(frozen=True, kw_only=True)
class BestSentence:
    """The sentence nearest to the question, as it stands: it is always supported."""

    embedder: Embedder

    def read(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]]) -> list[Answer]:
        """Return the answer to each question."""
        found = evidence_for(self.embedder, questions, hits)
        return [Answer(text=best[0].text if best else "", evidence=best[:1], supported=bool(best)) for best in found]


@dataclass(frozen=True, kw_only=True)
class Generative:
    """A short answer that a causal language model writes, given the best sentences."""

    embedder: Embedder
    model: Any
    tokenizer: Any
    sentences: int = 1  # a model of 135 M weights answers best from one
    max_new_tokens: int = 24

    def read(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]]) -> list[Answer]:
        """Return the answer to each question."""
        from ..tasks.text.generate import Decoding, generate
        from ..tasks.text.tokenization import encode, leading_marks

        found = evidence_for(self.embedder, questions, hits)
        given = [best[: self.sentences] for best in found]
        asked = [place for place, some in enumerate(given) if some]
        marks = leading_marks(self.tokenizer)
        texts = [prompt_for(questions[place], [one.text for one in given[place]]) for place in asked]
        prompts = [[*marks, *tokens.ids] for tokens in encode(self.tokenizer, texts)]
        decoding = Decoding(max_new_tokens=self.max_new_tokens, batch_size=16)
        written = generate(self.model, self.tokenizer, prompts, decoding, ends=_line_ends(self.tokenizer)) if prompts else []
        answers = [Answer(text="", evidence=[], supported=False) for _ in questions]
        for place, text in zip(asked, written, strict=True):
            line = next((line.strip() for line in text.splitlines() if line.strip()), "")
            cited = cite(line, given[place])
            answers[place] = Answer(text=line, evidence=cited, supported=bool(line) and is_supported(line, cited[0].text))
        return answers


def client_answer(found: Found) -> Answer:
    """Return what a client answered, where it read its passages itself, or that nothing was to be read."""
    if found.answer is None:
        return Answer(text="", evidence=[], supported=False)
    text, client, cosine = found.answer
    place = next(place for place, hit in enumerate(found.hits) if hit.client == client)
    return Answer(text=text, evidence=[Evidence(text=text, hit=place, cosine=cosine)], supported=True)


def evidence_for(embedder: Embedder, questions: Sequence[str], hits: Sequence[Sequence[Hit]]) -> list[list[Evidence]]:
    """Return for each question the sentences of its best hits, nearest to the question first."""
    places = [
        [(place, sentence) for place, hit in enumerate(some[:MOST_PASSAGES]) for sentence in sentences(hit.passage.text)][
            :MOST_SENTENCES
        ]
        for some in hits
    ]
    places = [[one for one in some if len(one[1].split()) >= SHORTEST] or some for some in places]
    flat = [sentence for some in places for _, sentence in some]
    vectors = np.split(embedder.embed(flat), np.cumsum([len(some) for some in places])[:-1]) if places else []
    found = []
    for vector, some, theirs in zip(embedder.embed(list(questions)), places, vectors, strict=True):
        cosines = theirs.astype(np.float64) @ vector.astype(np.float64)
        ranked = [Evidence(text=text, hit=hit, cosine=float(cosine)) for (hit, text), cosine in zip(some, cosines, strict=True)]
        found.append(sorted(ranked, key=lambda one: -one.cosine))
    return found


def prompt_for(question: str, sentences: Sequence[str]) -> str:
    """Return what a model completes with an answer; a text from a passage stays in its line."""
    parts = [f"Text: {text}\nQuestion: {asked}\nAnswer: {answer}\n" for text, asked, answer in EXAMPLES]
    given = " ".join(one_line(sentence)[:LONGEST_LINE] for sentence in sentences)
    return "\n".join([*parts, f"Text: {given}\nQuestion: {one_line(question)}\nAnswer:"])


def one_line(text: str) -> str:
    """Return a text in one line, without control characters of any kind."""
    return " ".join(
        re.sub(r"[^\S ]|[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]", " ", text).split()
    )


def cite(answer: str, given: Sequence[Evidence]) -> list[Evidence]:
    """Return the sentences with the one first that holds most of an answer's words."""
    words = set(normalized(answer).split())
    return sorted(given, key=lambda one: -len(words & set(normalized(one.text).split())))


def is_supported(answer: str, sentence: str) -> bool:
    """Return whether every word of an answer stands in a sentence."""
    words = set(normalized(answer).split())
    return bool(words) and words <= set(normalized(sentence).split())


def _line_ends(tokenizer: Any) -> list[int]:
    """Return the token of a line's end, if there is one for it alone."""
    ids = tokenizer("\n", add_special_tokens=False)["input_ids"]
    return list(ids) if len(ids) == 1 else []
