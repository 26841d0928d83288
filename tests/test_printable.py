"""Signs that a terminal would obey are written out, and nothing else is."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtailor.printable import UNSAFE, json_text, look_alike, printable


def test_what_a_terminal_obeys_is_written_out():
    assert printable("a\x1b[2J\x07\r\x7f\x9b31m\u202ecba\u2066\ud800") == r"a\x1b[2J\x07\x0d\x7f\x9b31m\u202ecba\u2066\ud800"
    assert printable("Ünïcode 日本語 \u200fעברית 👩\u200d💻\tb\n") == "Ünïcode 日本語 \u200fעברית 👩\u200d💻\tb\n"


@given(st.text(st.characters() | st.sampled_from("\x1b\x07\x9b\u202e\u2028\ud800\n")))
@settings(max_examples=300, deadline=None)
def test_nothing_unsafe_is_left_and_json_reads_back(text: str):
    assert not UNSAFE.search(printable(text))
    written = json_text({"text": [text]}, indent=2)
    assert not UNSAFE.search(written)
    assert json.loads(written) == {"text": [text]}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("good", "good "), ("good", "good ")),
        (("a b", "a\u00a0b"), ("a b", "a\u00a0b")),
        (("caf\u00e9", "cafe\u0301", "tea"), ("cafe\u0301", "caf\u00e9")),
        (("a", "a\u200b"), ("a", "a\u200b")),
        (("good", "Good", "go od", "7", "07", "7.0", "\u00b2", "2"), None),
        ((), None),
    ],
)
def test_names_that_nobody_can_distinguish_are_found(names, found):
    assert look_alike(names) == found
