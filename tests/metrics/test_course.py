"""How steadily a loss fell, and when a figure was reached, worked out by hand."""

import math

import pytest

from fedtailor.errors import SettingError
from fedtailor.metrics.course import Target, read_target, stability, when_reached


def test_rises_are_counted_between_evaluations_that_are_known():
    # 3.0 → 2.0, up to 2.5 (+0.5), None skipped, down to 1.5, up to 1.75 (+0.25): last is 0.25 above the least
    found = stability([3.0, 2.0, 2.5, None, math.nan, 1.5, 1.75])
    assert found == {"rises": 2, "largest_rise": 0.5, "risen": 0.75, "last_over_best": 0.25}
    assert stability([3.0, 2.0]) == {"rises": 0, "largest_rise": 0.0, "risen": 0, "last_over_best": 0.0}
    assert stability([3.0, None]) == {}


ROUNDS = [
    {"round": 1, "up_bytes": 10, "down_bytes": 20, "seconds": 1.5, "test_loss": 2.0, "validation_loss": 2.1},
    {"round": 2, "up_bytes": 10, "down_bytes": 20, "seconds": 2.0},  # not evaluated
    {"round": 3, "up_bytes": 11, "down_bytes": 20, "seconds": 2.5, "test_loss": 1.8, "validation_loss": 1.95},
]
SUMMARY = {
    "metrics": {"before": {"loss": 3.0, "bleu": 4.0}, "after": {"loss": 1.8, "bleu": 31.0}},
    "validation_loss": {"before": 3.1, "after": 1.95},
}


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("loss=1.85", (3, 91, 6.0)),
        ("loss=2", (1, 30, 1.5)),
        ("loss=3.5", (0, 0, 0)),
        ("validation_loss=1.95", (3, 91, 6.0)),
        ("bleu=30", (3, 91, 6.0)),  # more is better; texts were written at the end alone
        ("bleu=32", None),
        ("loss=1.7", None),
    ],
)
def test_costs_are_those_until_an_evaluation_found_it(target, found):
    assert when_reached(read_target(target), SUMMARY, ROUNDS) == found


def test_direction_of_a_metric_of_ones_own_is_its_own():
    summary = {"metrics": {"before": {"mine": 0.1}, "after": {"mine": 0.5}}, "evaluation": {"own_metrics": {"mine": True}}}
    assert when_reached(Target(metric="mine", value=0.4), summary, [{"round": 1, "test_mine": 0.5}]) == (1, 0, 0)


@pytest.mark.parametrize("text", ["loss", "=1", "loss=", "loss=abc", "loss=nan"])
def test_what_is_no_target_is_refused(text):
    with pytest.raises(SettingError, match="--target is a metric and a number"):
        read_target(text)
