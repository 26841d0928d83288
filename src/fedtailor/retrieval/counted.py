"""The counts of words that clients state, held against what can be, and added up."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add

from ..messages import Record
from .messages import Catalogue, Counted
from .terms import Statistics, words_of

MOST_WORDS = 2**20  # in one passage: ten for each of the most tokens that one may have


def statistics_of(
    texts: Sequence[str], answers: Mapping[str, Record], catalogues: Mapping[str, Catalogue], strange: Callable[[str], None]
) -> list[Statistics]:
    """Return the statistics of words over all clients, for each question; empty if no client gave any.

    A client that states what its passages cannot hold is left out: its counts would weigh words for all.

    Args:
        texts: the questions.
        answers: of clients.
        catalogues: of all clients: how many passages each has.
        strange: called with each client that is left out.
    """
    asked = [list(dict.fromkeys(words_of(text))) for text in texts]
    found: list[list[Statistics]] = [[] for _ in texts]
    for name, reported in answers.items():
        if not isinstance(reported, Counted):
            continue
        if not can_be(reported, catalogues[name].passages, words=sum(map(len, asked))):
            strange(name)
            continue
        holding = iter(reported.holding)
        for words, some in zip(asked, found, strict=True):
            of_words = {word: next(holding) for word in words}
            some.append(Statistics(passages=reported.passages, words=reported.words, holding=of_words))
    if not all(found):
        return []
    sums = [reduce(add, some) for some in found]
    return [
        Statistics(passages=one.passages, words=one.words, holding={word: one.holding.get(word, 0) for word in words})
        for one, words in zip(sums, asked, strict=True)
    ]


def can_be(reported: Counted, passages: int, *, words: int) -> bool:
    """Return whether an index can have such counts.

    Args:
        passages: that the client's catalogue names.
        words: that were asked for, of all questions.
    """
    return (
        reported.passages == passages
        and len(reported.holding) == words
        and max(reported.holding, default=0) <= passages
        and reported.words <= passages * MOST_WORDS
    )
