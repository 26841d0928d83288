"""Job files as text: YAML that keeps what was meant, and settings put into nested ones."""

import os
import socket
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtailor.errors import SettingError
from fedtailor.text_files import read_json
from fedtailor.yaml_text import put, read_yaml, read_yaml_file, write_yaml


def test_yaml_keeps_labels_and_small_rates():
    assert read_yaml("[no, yes, on, 12:30, 1e-3, 2024-01-01, 0x1F, 1_000, ~, true, -3]", "text") == [
        "no", "yes", "on", "12:30", 0.001, "2024-01-01", "0x1F", "1_000", None, True, -3,
    ]  # fmt: skip


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcno1e-", min_size=1, max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_written_yaml_reads_back_the_same(value: object):
    assert read_yaml(write_yaml(value), "text") == value


def test_put_copies():
    old = {"a": {"b": 1}, "l": [{"k": 1}]}
    assert put(old, ["a", "c"], 2) == {"a": {"b": 1, "c": 2}, "l": [{"k": 1}]}
    assert put(old, ["l", "0", "k"], 2)["l"] == [{"k": 2}]
    assert old == {"a": {"b": 1}, "l": [{"k": 1}]}


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
BOMBS = {
    "aliases": (LAUGHS, "line 6: .* more than 100,000 values"),
    "alias of itself": ("a: &a [*a]", "stands inside what it names"),
    "brackets": ("[" * 900_000, "nested more than 20 deep"),
    "braces": ("{a: " * 100, "nested more than 20 deep"),
    "blocks": ("\n".join(" " * depth + "a:" for depth in range(100)), "line 21: .* nested more than 20 deep"),
    "list": ("[" + "1," * 300_000 + "]", "more than 100,000 values"),
    "digits": ("rank: " + "9" * 5000, r"line 1: .* a number of 5,000 digits \(99999"),
    "timestamp": ("a: !!timestamp 99999-01-01", "line 1: .*tag"),
    "object": ("a: !!python/object/apply:os.system [x]", "line 1: .*tag"),
    "key twice": ("a: 1\nb:\n  c: 1\n  c: 2", "line 4: .*'c' is written twice"),
    "merge key": ("a: &x {b: 1}\nc:\n  <<: *x", "line 3: .*merge key << of YAML 1.1 is not read here"),
    "key twice, quoted": ('1: a\n"1": b', "line 2: .*'1' is written twice"),
    "tab": ("a:\n\tb: 1", "line 2: .*indent with spaces"),
    "zero byte": ("a: 1\nb: \0", "line 2: .*0x0000"),
    "half a character": ('a: "\\ud800"', "half a pair"),
    "two texts": ("a: 1\n---\nb: 1", "line 2"),
    "key that is a list": ("{[1]: 2}", "line 1"),
    "alias of nothing": ("a: *x", "undefined alias 'x'"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_text_that_no_person_writes_is_refused_soon(bomb):
    text, words = BOMBS[bomb]
    began = time.process_time()
    with pytest.raises(SettingError, match=f"job.yaml, {words}" if words.startswith("line") else words) as caught:
        read_yaml(text, "job.yaml")
    assert time.process_time() - began < 20  # seconds of processor time; 5.9 were seen on a slow one
    assert len(str(caught.value)) < 300


def test_aliases_of_a_person_are_read():
    assert read_yaml("a: &small {rank: 2}\nb: *small", "text") == {"a": {"rank": 2}, "b": {"rank": 2}}


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    (tmp_path / "large").write_bytes(b"#" * 1_000_001)
    (tmp_path / "latin").write_bytes(b"a: 1\nb: \xe9")
    sorts = {"pipe": "a named pipe", "socket": "a socket", "/dev/zero": "a device", ".": "a folder", "large": "1,000,000 bytes"}
    sorts |= {"latin": "latin, line 2: .*UTF-8", "n" * 300: "name too long", "a\0b": "null", "no": "no such file"}
    for name, words in sorts.items():
        with pytest.raises(SettingError, match=words) as caught:
            read_yaml_file(tmp_path / name, "the job file")
        assert len(str(caught.value)) < 400


def test_json_is_read_as_strictly():
    assert read_json('{"a": [1, 2.5, null, "\\ud83d\\ude00"]}', "text") == {"a": [1, 2.5, None, "\U0001f600"]}
    bad = {
        '{"a": 1, "a": 2}': "'a' stands twice",
        "[NaN]": "NaN",
        "[" * 90_000: "nested",
        "1" * 5000: "4300",
        '{"a":\n1,}': "line 2",
    }
    for text, words in bad.items():
        with pytest.raises(SettingError, match=words):
            read_json(text, "site.json")
