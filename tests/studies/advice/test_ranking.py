"""The order of systems by evidence."""

import pandas as pd
import pytest

from fedtailor.studies.advice.evidence import COLUMNS
from fedtailor.studies.advice.ranking import Place, leave_one_out, scores

HERE = Place(task="classification", backbone="minilm-l6", clients=10, rows=100.0, divergence=0.2)


def runs(
    decision, values, *, task="classification", backbone="minilm-l6", rows=100.0, metric="accuracy", settings="learning_rate=0.1"
):
    """Return rows of one seed, a system each."""
    return [
        {
            **dict.fromkeys(COLUMNS, 0),
            "decision": decision, "task": task, "backbone": backbone, "clients": 10, "rows": rows, "divergence": 0.2, "system": system,
            "settings": settings, "metric": metric, "value": value, "higher_is_better": metric == "accuracy",
        }
        for system, value in values.items()
    ]  # fmt: skip


def test_systems_are_ordered_by_their_standing_in_each_decision():
    # a is 0.1 above the mean of (0.7, 0.5), b 0.1 below
    found = scores(pd.DataFrame(runs("one", {"a": 0.7, "b": 0.5})), HERE)
    assert list(found) == ["a", "b"]
    assert found["a"].gain == pytest.approx(0.1)
    assert found["a"].score == pytest.approx(1.0)
    assert (found["a"].runs, found["a"].decisions) == (1, 1)


def test_a_smaller_loss_is_better():
    assert list(scores(pd.DataFrame(runs("one", {"a": 2.0, "b": 1.0}, metric="loss")), HERE)) == ["b", "a"]


def test_a_decision_that_is_near_outweighs_one_that_is_far():
    far = runs("far", {"a": 0.9, "b": 0.1}, backbone="other", rows=10_000.0)
    near = runs("near", {"a": 0.4, "b": 0.6})
    assert list(scores(pd.DataFrame(far + near), HERE)) == ["b", "a"]


def test_another_task_says_nothing():
    assert scores(pd.DataFrame(runs("one", {"a": 0.7, "b": 0.5}, task="generation")), HERE) == {}


def test_a_system_counts_with_its_best_settings():
    table = runs("one", {"a": 0.7, "b": 0.5}) + runs("one", {"a": 0.2, "b": 0.9}, settings="learning_rate=0.2")
    assert list(scores(pd.DataFrame(table), HERE)) == ["b", "a"]


def test_leaving_one_out():
    # a wins in three decisions and loses in the fourth to c, which is third elsewhere: of four systems two are advised, so chance is a half
    same = {"a": 0.9, "b": 0.8, "c": 0.5, "d": 0.4}
    table = [row for name in ("one", "two", "three") for row in runs(name, same)] + runs("four", {**same, "c": 0.95})
    found = {check.decision: check for check in leave_one_out(pd.DataFrame(table))}
    assert {name: check.right for name, check in found.items()} == {"one": True, "two": True, "three": True, "four": False}
    assert found["four"].winner == "c"
    assert list(found["four"].advised) == ["a", "b"]
    assert {check.chance for check in found.values()} == {0.5}
