"""BM25 against its formula, and updates against counting anew."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedtailor.retrieval.terms import K1, B, count_terms, open_terms, save_terms, update_terms, words_of

TEXTS = ["tea milk tea", "milk", "", "Tea and bread and salt"]
WORDS = st.lists(st.sampled_from(["tea", "milk", "bread", "salt"]), max_size=6).map(" ".join)


def by_hand(question, texts, row):
    lists = [words_of(text) for text in texts]
    mean = sum(map(len, lists)) / len(lists)
    total = 0.0
    for word in set(words_of(question)):
        holding = sum(word in one for one in lists)
        count = lists[row].count(word)
        idf = math.log(1 + (len(lists) - holding + 0.5) / (holding + 0.5))
        total += idf * count * (K1 + 1) / (count + K1 * (1 - B + B * len(lists[row]) / mean))
    return total


def test_words():
    assert words_of("The E-mail's 2ND ﬁle_name") == ["the", "e", "mail", "s", "2nd", "file", "name"]
    assert words_of("ab茶cd 早上 ไทย") == ["ab", "茶", "cd", "早", "上", "ไ", "ท", "ย"]
    assert words_of("Straße ÉTÉ") == ["strasse", "été"]
    assert words_of("?! _") == []


def test_the_formula():
    found = count_terms(TEXTS).scores("Milk or TEA?")
    np.testing.assert_allclose(found, [by_hand("milk tea", TEXTS, row) for row in range(4)], rtol=1e-6)
    # milk in the 2nd of 4 texts, of 1 word where the mean is 9/4: log(1 + 2.5/2.5) * 2.5 / (1 + 1.5 * (0.25 + 0.75 * 4/9))
    assert math.isclose(found[1], math.log(2) * 2.5 / 1.875, rel_tol=1e-6)


def test_nothing_shared_scores_nothing():
    for question in ("", "?!", "coffee"):
        assert count_terms(TEXTS).scores(question).tolist() == [0, 0, 0, 0]
    assert count_terms([]).scores("tea").tolist() == []
    assert count_terms(["", "?"]).scores("tea").tolist() == [0, 0]


@given(st.lists(WORDS, max_size=6), st.lists(WORDS, max_size=4), st.data())
def test_an_update_equals_counting_again(old, new, data):
    kept = data.draw(st.lists(st.sampled_from(range(len(old))), unique=True) if old else st.just([]))
    updated, anew = update_terms(count_terms(old), kept, new), count_terms([*(old[row] for row in kept), *new])
    assert list(updated.words) == list(anew.words)
    for name in ("starts", "rows", "counts", "lengths"):
        one, other = getattr(updated, name), getattr(anew, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_summed_statistics_make_clients_comparable():
    question = "tea bread milk"
    parts = [count_terms(TEXTS[:1]), count_terms(TEXTS[1:])]
    known = parts[0].statistics(question) + parts[1].statistics(question)
    assert (known.passages, known.words, dict(known.holding)) == (4, 9, {"tea": 2, "milk": 2, "bread": 1})
    apart = np.concatenate([part.scores(question, known) for part in parts])
    np.testing.assert_array_equal(apart, count_terms(TEXTS).scores(question))


def test_files(tmp_path):
    terms = count_terms(TEXTS)
    save_terms(terms, tmp_path)
    found = open_terms(tmp_path, len(TEXTS))
    assert found.words == terms.words
    np.testing.assert_array_equal(found.scores("tea"), terms.scores("tea"))
    assert isinstance(found.rows, np.memmap)
