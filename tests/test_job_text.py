"""Job files as text: YAML that keeps what was meant, and settings put into nested ones."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fedtailor.job_text import put, read_yaml, write_yaml


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
