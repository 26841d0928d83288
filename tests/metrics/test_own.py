from dataclasses import dataclass
from typing import ClassVar

import pytest

from fedtailor.errors import SettingError
from fedtailor.metrics.own import own_score
from fedtailor.tasks.evaluation import Evaluation


@dataclass(frozen=True, kw_only=True)
class Exact:
    """The share of answers that equal a reference."""

    name: str = "exact"
    higher_is_better: bool = True
    is_mean: bool = True

    def score(self, answers, references):
        return sum(answer in right for answer, right in zip(answers, references, strict=True)) / len(answers)


class NoScore:
    name, higher_is_better, is_mean = "x", True, True


@dataclass(frozen=True, kw_only=True)
class Broken(Exact):
    told: ClassVar[object] = "much"

    def score(self, answers, references):
        if self.told == "much":
            return "much"
        raise ZeroDivisionError("nothing to divide by")


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ([NoScore()], "lacks score"),
        ([Exact(name="bleu")], "that of another figure"),
        ([Exact(name="Exact match")], "a name is a lower-case letter"),
        ([Exact(name="f_counts")], "a name is a lower-case letter"),
        ([Exact(is_mean="yes")], "is_mean is 'yes'"),
        ([Exact(), Exact()], "both called 'exact'"),
        ([3], "lacks name"),
    ],
)
def test_what_is_no_metric_is_refused(metrics, said):
    with pytest.raises(SettingError, match=said):
        Evaluation(metrics=metrics)


def test_what_is_known_of_metrics_of_ones_own():
    found = Evaluation(metrics=["loss", Exact(), Exact(name="worst", higher_is_better=False, is_mean=False)])
    assert found.directions == {"exact": True, "worst": False}
    assert found.no_means == ["worst"]


def test_a_metric_that_fails_is_named():
    with pytest.raises(SettingError, match="broken returned 'much' for 1 answers"):
        own_score(Broken(name="broken"), ["a"], [["a"]])
    Broken.told = None
    with pytest.raises(SettingError, match="broken failed on 2 answers with ZeroDivisionError"):
        own_score(Broken(name="broken"), ["a", "b"], [["a"], ["b"]])
