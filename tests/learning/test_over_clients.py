import pytest

from fedtailor.learning.over_clients import pool, pooled_counts
from fedtailor.metrics.classes import class_counts, macro_f1
from fedtailor.metrics.texts import bleu, chrf

TEXTS = [["the cat sat on the mat"], ["a dog ran over the hill today", "no"]]
REFERENCES = [[["the cat sat on a mat", "x"]], [["a dog ran down the hill"], ["no way out"]]]


def test_macro_f1_of_all_is_not_the_mean_of_the_clients():
    # three clients with one class each, all predicted as class 0. Each alone: F1 1, 0, 0; mean 1/3.
    # Together: class 0 has 2 * 4 / (4 + 12), classes 1 and 2 none: (1/2 + 0 + 0) / 3 = 1/6
    sets = [
        {"examples": 4, "macro_f1": float(label == 0), "macro_f1_counts": class_counts([0] * 4, [label] * 4, 3)}
        for label in range(3)
    ]
    assert pool(sets)["macro_f1"] == pytest.approx(1 / 6)
    assert pooled_counts(sets) == {"macro_f1_counts": [4, 0, 0, 4, 4, 4, 12, 0, 0]}
    del sets[1]["macro_f1_counts"]  # its site does not tell how often labels occur
    assert pool(sets) == {"examples": 12}
    assert pool(sets[:1])["macro_f1"] == 1  # of one set nothing must be added


@pytest.mark.parametrize(("name", "score"), [("bleu", bleu), ("chrf", chrf)])
def test_scores_of_corpora_are_those_of_all_texts_together(name, score):
    sets = []
    for texts, references in zip(TEXTS, REFERENCES, strict=True):
        found = score(texts, references)
        sets.append({"examples": len(texts), "texts": len(texts), name: found.score, f"{name}_counts": found.counts})
    whole = score([text for texts in TEXTS for text in texts], [given for each in REFERENCES for given in each]).score
    assert pool(sets)[name] == pytest.approx(whole, abs=1e-12)
    assert pool(sets)[name] != pytest.approx(sum(each[name] * each["texts"] for each in sets) / 3)


def test_metrics_of_answers_count_by_texts_where_a_model_writes_them_else_by_examples():
    written = [{"f1": 1.0, "texts": 1, "examples": 3}, {"f1": 0.0, "texts": 3, "examples": 1}]
    assert pool(written)["f1"] == 1 / 4
    assert pool([{name: row[name] for name in ("f1", "examples")} for row in written])["f1"] == 3 / 4


def test_means_are_weighted_by_what_they_are_over_and_metrics_of_ones_own_that_are_none_are_left_out():
    sets = [
        {"examples": 1, "tokens": 30, "loss": 1.0, "texts": 1, "rouge2": 1.0, "exact": 1.0, "spread": 5.0, "sample_loss": 1.0},
        {"examples": 4, "tokens": 10, "loss": 3.0, "texts": 3, "rouge2": 0.0, "exact": 0.0, "spread": 7.0},
    ]
    found = pool(sets, no_means=["spread"])
    assert found == {"loss": 1.5, "rouge2": 0.25, "exact": 0.25, "examples": 5, "tokens": 40, "texts": 4}


def test_macro_f1_agrees_with_sklearn():
    from sklearn.metrics import f1_score

    labels, predicted = [0, 1, 1, 3, 3, 3, 0], [0, 1, 4, 3, 1, 3, 3]
    expected = f1_score(labels, predicted, average="macro", zero_division=0.0)
    assert macro_f1(class_counts(predicted, labels, 6)) == pytest.approx(expected, abs=1e-15)
