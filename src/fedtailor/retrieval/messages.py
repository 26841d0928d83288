"""What server and clients say to each other when a question is asked: first scores, then what the winners let out."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..messages.facts import asked, whole
from ..messages.record import Record, fact, tensor
from ..messages.specs import FactSpec, Reveals
from .share import ANSWER

LONGEST_QUESTION = 2000  # characters
MOST_QUESTIONS = 64  # of one message
MOST_CANDIDATES = 1000  # of one question and client
LONGEST_TEXTS = 2**24  # characters of all texts in a message
MOST_ITEMS = MOST_QUESTIONS * MOST_CANDIDATES
MOST_NUMBER = 2**31  # of passages, pages or characters
WORD_STATISTICS = "of all clients together: words are weighed by it"
QUESTIONS = FactSpec(
    type="list[str]",
    purpose="the questions",
    most_characters=LONGEST_QUESTION * MOST_QUESTIONS,
    most_items=MOST_QUESTIONS,
    reveals="nothing",
)


def numbers(purpose: str, *, reveals: Reveals = "nothing", signed: bool = False, optional: bool = False) -> FactSpec:
    """Return the spec of a list of whole numbers, one for each of something."""
    return FactSpec(
        type="list[int]",
        purpose=purpose,
        least=None if signed else 0,
        most=None if signed else MOST_NUMBER,
        most_items=MOST_ITEMS,
        reveals=reveals,
        optional=optional,
    )


def texts_of(purpose: str, *, reveals: Reveals = "passages", most: int = LONGEST_TEXTS) -> FactSpec:
    """Return the spec of a list of texts from a client's documents."""
    return FactSpec(type="list[str]", purpose=purpose, most_characters=most, most_items=MOST_ITEMS, reveals=reveals)


@dataclass(frozen=True, kw_only=True)
class Describe(Record, kind="catalogue"):
    """Asks what a client has indexed, once for each version of its index."""

    count: int = fact(asked("centroids that are asked for"))
    smallest: int = fact(asked("passages of a centroid, at least"))
    embedder: str = fact(
        FactSpec(type="str", purpose="SHA-256 of the server's embedder", most_characters=64, reveals="nothing")
    )  # centroids of another are of no use


@dataclass(frozen=True, kw_only=True)
class Catalogue(Record, kind="catalogue"):
    """What a client has indexed."""

    passages: int = fact(whole("passages of the client", reveals="examples", most=MOST_NUMBER))
    embedder: str = fact(
        FactSpec(
            type="str", purpose="SHA-256 of its embedder: vectors of others do not compare", most_characters=64, reveals="nothing"
        )
    )
    share: str = fact(FactSpec(type="str", purpose="the most that the client lets out", most_characters=20, reveals="nothing"))
    sizes: list[int] | None = fact(numbers("passages of each centroid", reveals="centroids", optional=True))
    centroids: Tensor | None = tensor("centroids", reveals="centroids")
    vectors: Tensor | None = tensor("vectors", reveals="embeddings")


@dataclass(frozen=True, kw_only=True)
class Count(Record, kind="words"):
    """Asks how many passages hold the words of questions."""

    questions: list[str] = fact(QUESTIONS)


@dataclass(frozen=True, kw_only=True)
class Counted(Record, kind="words"):
    """How many passages of a client hold each word of the questions."""

    passages: int = fact(whole("passages of the client", reveals="examples", most=MOST_NUMBER))
    words: int = fact(whole("words in all of them", reveals="examples"))
    holding: list[int] = fact(numbers("passages that hold each word of each question", reveals="term-counts"))


@dataclass(frozen=True, kw_only=True)
class Ask(Record, kind="question"):
    """Questions, with their vectors."""

    exchange: int = fact(asked("number of the exchange, which a later request names"))
    most: int = fact(asked("candidates that are asked for, of each question"))
    questions: list[str] | None = fact(QUESTIONS, sometimes=True)  # None: their vectors alone
    passages: int | None = fact(asked(f"passages {WORD_STATISTICS}", optional=True))
    words: int | None = fact(asked(f"words {WORD_STATISTICS}", optional=True))
    holding: list[int] | None = fact(numbers(f"passages that hold each word, {WORD_STATISTICS}", optional=True))
    vectors: Tensor | None = tensor("vectors")


@dataclass(frozen=True, kw_only=True)
class Scored(Record, kind="question"):
    """The scores of a client's best passages, best first; a passage is named by its place, and by nothing else."""

    counts: list[int] = fact(numbers("candidates of each question", reveals="scores"))
    keys: list[int] = fact(numbers("what equal texts share, for one question", reveals="scores", signed=True))
    cosines: Tensor | None = tensor("cosines", reveals="scores")
    bm25: Tensor | None = tensor("bm25", reveals="scores")


@dataclass(frozen=True, kw_only=True)
class Fetch(Record, kind="passages"):
    """Asks for passages that won."""

    exchange: int = fact(asked("number of the exchange in which they were named"))
    questions: list[int] = fact(numbers("number of the question, for each passage"))
    places: list[int] = fact(numbers("place among the candidates of its question"))
    whole: list[int] = fact(numbers("1: with its text; 0: its source alone, as the text is known"))


@dataclass(frozen=True, kw_only=True)
class Fetched(Record, kind="passages"):
    """Passages, or a sentence of each, with their sources."""

    texts: list[str] = fact(texts_of("the passages that won, or a sentence of each"))
    ids: list[str] = fact(texts_of("their ids"))
    files: list[str] = fact(texts_of("the files that they stand in"))
    documents: list[str] = fact(texts_of("the documents that they stand in"))
    titles: list[str] = fact(texts_of("the titles of these"))
    pages: list[int] = fact(numbers("the pages, 0 where there are none", reveals="passages"))
    begins: list[int] = fact(numbers("where they begin in their document", reveals="passages"))
    ends: list[int] = fact(numbers("where they end", reveals="passages"))


@dataclass(frozen=True, kw_only=True)
class Read(Record, kind="answers"):
    """Asks for an answer from passages that won, read at the client."""

    exchange: int = fact(asked("number of the exchange in which they were named"))
    questions: list[int] = fact(numbers("number of the question, for each passage"))
    places: list[int] = fact(numbers("place among the candidates of its question"))


@dataclass(frozen=True, kw_only=True)
class Answered(Record, kind="answers"):
    """One answer to each question that was asked for, in the order of their numbers."""

    texts: list[str] = fact(texts_of("the answers", reveals="answers", most=ANSWER * MOST_QUESTIONS))
    cosines: list[float] = fact(
        FactSpec(
            type="list[float]",
            purpose="cosine of the question with the sentence that the answer is from",
            least=-1.01,
            most=1.01,
            most_items=MOST_QUESTIONS,
            reveals="scores",
        )
    )


ANSWERS: Mapping[type[Record], type[Record]] = {Describe: Catalogue, Count: Counted, Ask: Scored, Fetch: Fetched, Read: Answered}
