"""Passages: nothing of a document is lost, each is short enough, and sentences stay whole where they can."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtailor.errors import SettingError
from fedtailor.retrieval.documents import Document
from fedtailor.retrieval.passages import LONGEST_TOKEN, Chunks, cut, sentences


def words_of(text):
    """Give each word as a token, as a tokenizer's offsets would."""
    return [match.span() for match in re.finditer(r"\S+", text)]


def passages(text, tokens=10, overlap=3, **more):
    document = Document(id="d", title="t", text=text, **more)
    return cut(document, "d.txt", Chunks(tokens=tokens, overlap=overlap), words_of(text))


def test_cut_at_sentences_with_overlap():
    text = "a b c d e. f g h. i j k l m n o. p q."
    # the window of 10 tokens ends in `j`; the last sentence that ends in its second half ends with `h.`
    found = passages(text, overlap=3)
    assert [one.text for one in found] == ["a b c d e. f g h.", "f g h. i j k l m n o.", "p q."]
    assert [one.id for one in found] == ["d.txt:d#0", "d.txt:d#1", "d.txt:d#2"]
    assert all(text[one.begin : one.end] == one.text for one in found)


def test_without_sentences_the_window_decides():
    found = passages(" ".join("abcdefghijklmnop"), tokens=8, overlap=2)
    assert [one.text for one in found] == ["a b c d e f g h", "g h i j k l m n", "m n o p"]


def test_short_and_empty():
    assert [one.text for one in passages("  one word \n")] == ["one word"]
    assert passages(" \n ") == []


def test_pages():
    text = "a b c d e f g h.\ni j k l m n o p."
    found = passages(text, tokens=8, overlap=0, page_starts=[0, 17])
    assert [(one.page, one.text[0]) for one in found] == [(1, "a"), (2, "i")]


@given(st.text(alphabet="ab .\n。!", max_size=400), st.integers(8, 20), st.integers(0, 4))
def test_nothing_is_lost(text, tokens, overlap):
    held = set()
    for one in passages(text, tokens, overlap):
        assert len(words_of(one.text)) <= tokens
        held |= set(range(one.begin, one.end))
    assert {place for place, sign in enumerate(text) if not sign.isspace()} <= held


def test_one_endless_word_is_cut():
    text = "x" * (LONGEST_TOKEN * 25)
    found = passages(text, tokens=10, overlap=0)
    assert [len(one.text) for one in found] == [LONGEST_TOKEN * 10, LONGEST_TOKEN * 10, LONGEST_TOKEN * 5]


def test_sentences():
    assert sentences('He said "no." Then 3.5 cups\nof tea! 早上好。晚安。 End') == [
        'He said "no."',
        "Then 3.5 cups of tea!",
        "早上好。",
        "晚安。",
        "End",
    ]


@pytest.mark.parametrize(("tokens", "overlap"), [(7, 0), (20, 11), (20, -1)])
def test_settings(tokens, overlap):
    with pytest.raises(SettingError, match="chunk"):
        Chunks(tokens=tokens, overlap=overlap)
