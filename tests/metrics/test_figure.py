import math

import pytest

from fedtailor.learning.over_clients import pool
from fedtailor.metrics import METRICS, Metric, directions
from fedtailor.metrics import figure as home
from fedtailor.metrics.figure import leading, needs_of, perplexity, scores_answers, shown_in


def test_perplexity_is_exp_of_the_mean():
    assert perplexity(4 * math.log(3), 4) == pytest.approx(3)
    assert perplexity(4 * math.log(3), 2) == pytest.approx(9)
    assert perplexity(1e6, 1) == math.inf
    assert math.isnan(perplexity(math.nan, 1))


def test_what_is_shown_where():
    assert shown_in("title") == ["perplexity", "recall@1", "f1", "accuracy"]
    assert shown_in("line") == "loss perplexity bleu rougeL recall@1 f1 accuracy cifar_fd fd".split()
    assert set(METRICS) - set(shown_in("page")) == {"rouge1", "rouge2"}
    assert shown_in("table") == list(METRICS)


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        (["loss", "perplexity"], "perplexity"),
        (["macro_f1", "accuracy", "loss"], "accuracy"),
        (["bleu", "loss"], "loss"),
        ([], "loss"),
    ],
)
def test_one_metric_leads(figures, expected):
    assert leading(figures) == expected


def test_what_a_figure_is_pooled_by_comes_with_it():
    assert needs_of("rouge1") == ("texts",)
    assert needs_of("accuracy") == needs_of("perplexity") == needs_of("words") == ("loss", "examples", "tokens")
    assert needs_of("perplexity_word") == ("loss", "examples", "tokens", "words")
    assert needs_of("bleu_counts") == needs_of("politeness") == ()


def test_answers_are_texts_or_classes():
    assert scores_answers(["loss", "texts"])
    assert scores_answers(["loss", "accuracy"])
    assert not scores_answers(["loss", "perplexity", "tokens"])


def test_own_directions_come_behind():
    assert directions({"exact_match": True, "worst": False})["exact_match"] is True
    assert list(directions({"worst": False}))[-1] == "worst"
    assert directions()["loss"] is False


def test_a_metric_is_one_record(monkeypatch):
    """A metric that is declared is pooled by what it says, without a line elsewhere."""
    distance = Metric(name="distance", title="distance", higher_is_better=False, pooled_by="examples", shown="line")
    worst = Metric(name="most", title="most", higher_is_better=False, from_counts=max)
    monkeypatch.setattr(home, "METRICS", {**METRICS, "distance": distance, "most": worst})
    monkeypatch.setattr("fedtailor.learning.over_clients.METRICS", home.METRICS)
    sets = [
        {"examples": 1, "distance": 8.0, "most": 3, "most_counts": [3, 1]},
        {"examples": 3, "distance": 4.0, "most": 4, "most_counts": [2, 4]},
    ]
    assert pool(sets) == {"examples": 4, "distance": 5.0, "most": 5}
    assert "distance" in shown_in("line")
