"""Metrics of answers, worked out by hand."""

import pytest

from fedtailor.metrics.answers import (
    answer_f1,
    contains_answer,
    exact_match,
    exact_match_of,
    f1_of,
    normalized,
    recall_at,
    reciprocal_rank,
)


def test_normalized():
    assert normalized("  The U.S.  team's a-game ") == "us teams agame"


@pytest.mark.parametrize(
    ("answer", "right", "exact", "f1", "contains"),
    [
        ("The river.", ["a River"], 1, 1, 1),
        ("the wide river Rhine", ["river"], 0, 2 * 1 / (3 + 1), 1),  # wide river rhine
        ("wide wide river", ["wide river", "sea"], 0, 2 * 2 / (3 + 2), 1),
        ("wide sea", ["sea wide"], 0, 1, 0),
        ("rivers", ["river"], 0, 0, 0),
        ("", ["river"], 0, 0, 0),
        ("the", ["a"], 1, 1, 1),
        ("308", [], 0, 0, 0),
    ],
)
def test_answers(answer, right, exact, f1, contains):
    assert exact_match(answer, right) == exact
    assert answer_f1(answer, right) == pytest.approx(f1)
    assert contains_answer(answer, right) == contains


def test_answers_that_a_model_writes_end_with_their_first_line():
    written, right = ["\n the wide river\nand more", "sea", ""], [["river"], ["lake", "the sea"], ["x"]]
    assert f1_of(written, right).score == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert exact_match_of(written, right).score == pytest.approx(1 / 3)


def test_passages():
    assert [recall_at(["a", "b", "c"], {"b", "z"}, k) for k in (1, 2, 3)] == [0, 1, 1]
    assert reciprocal_rank(["a", "b", "c"], {"c", "b"}) == 0.5
    assert reciprocal_rank([], {"c"}) == 0
