import math

import pytest

from fedtailor.errors import SettingError
from fedtailor.metrics.rouge import rouge
from fedtailor.metrics.texts import Bleu, bleu, chrf, streams


def test_bleu_of_a_text_that_is_too_short():
    # 4 words of a reference of 5, all n-grams right: precision 1, brevity penalty exp(1 - 5 / 4)
    found = bleu(["the cat sat down"], [["the cat sat down here"]])
    assert found.score == pytest.approx(100 * math.exp(-0.25))


def test_references_may_differ_in_number():
    texts = ["the cat sat on the mat", "a dog ran over the hill"]
    references = [["no such words here at all", "the cat sat on the mat"], ["a dog ran over the hill"]]
    found = bleu(texts, references)
    assert found.score == pytest.approx(100)
    assert "nrefs:var" in found.signature
    assert chrf(texts, references).score == pytest.approx(100)
    assert streams(references) == [["no such words here at all", "a dog ran over the hill"], ["the cat sat on the mat", None]]


def test_case_counts_unless_asked_otherwise_and_the_signature_says_so():
    texts, references = ["THE CAT SAT DOWN"], [["the cat sat down"]]
    assert bleu(texts, references).score < 1
    lower = bleu(texts, references, Bleu(lowercase=True))
    assert lower.score == pytest.approx(100)
    assert "case:lc" in lower.signature
    assert "tok:13a" in lower.signature
    assert "version:" in lower.signature


def test_empty_text_counts_as_nothing():
    assert bleu([""], [["the cat"]]).score == 0
    assert rouge("rougeL", [""], [["the cat"]]) == 0


def test_rouge_takes_the_best_reference_of_each_text():
    # text 1 against "a b c": precision 2/2, recall 2/3, F = 0.8, better than "x" with 0; text 2: 0
    assert rouge("rougeL", ["a c", "q"], [["x", "a b c"], ["z"]]) == pytest.approx(0.4)


@pytest.mark.parametrize(("name", "value"), [("lowercase", "yes"), ("tokenize", "12a")])
def test_bad_settings_are_refused_by_name(name, value):
    with pytest.raises(SettingError, match=f"^{name} is"):
        Bleu(**{name: value})
