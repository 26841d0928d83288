"""What clients state of their words: added up as it is, and left out where no index can have it."""

import pytest

from fedtailor.retrieval.counted import MOST_WORDS, statistics_of
from fedtailor.retrieval.messages import Catalogue, Counted
from fedtailor.retrieval.terms import Statistics

TEXTS = ["green tea", "tea"]
CATALOGUES = {name: Catalogue(passages=passages, embedder="", share="passages") for name, passages in (("a", 4), ("b", 6))}
HONEST = {"a": Counted(passages=4, words=30, holding=[1, 2, 2]), "b": Counted(passages=6, words=50, holding=[0, 3, 3])}


def taken(**answers):
    strange = []
    return statistics_of(TEXTS, HONEST | answers, CATALOGUES, strange.append), strange


def test_counts_add_up_by_word():
    both, strange = taken()
    assert both == [
        Statistics(passages=10, words=80, holding={"green": 1, "tea": 5}),
        Statistics(passages=10, words=80, holding={"tea": 5}),
    ]
    assert strange == []


@pytest.mark.parametrize(
    "bad",
    [
        Counted(passages=2**31, words=50, holding=[0, 3, 3]),  # it would make every word rare
        Counted(passages=5, words=50, holding=[0, 3, 3]),
        Counted(passages=6, words=6 * MOST_WORDS + 1, holding=[0, 3, 3]),
        Counted(passages=6, words=50, holding=[7, 3, 3]),  # more passages than there are
        Counted(passages=6, words=50, holding=[0, 3]),
        Counted(passages=6, words=50, holding=[0, 3, 3, 0]),
    ],
)
def test_one_that_cannot_be_is_left_out_by_name(bad):
    found, strange = taken(b=bad)
    assert found == [
        Statistics(passages=4, words=30, holding={"green": 1, "tea": 2}),
        Statistics(passages=4, words=30, holding={"tea": 2}),
    ]
    assert strange == ["b"]


def test_with_no_counts_at_all_each_weighs_by_its_own():
    bad = Counted(passages=1, words=0, holding=[])
    assert taken(a=bad, b=bad) == ([], ["a", "b"])
    assert statistics_of(TEXTS, {}, CATALOGUES, lambda name: None) == []
