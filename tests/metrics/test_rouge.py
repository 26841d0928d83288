import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenize import tokenize

from fedtailor.metrics.rouge import rouge, words_of

WORDS = {  # worked out by hand: words are parted by spaces and signs; scripts without spaces give one token a letter
    "Заявка принята, ждите": ["заявка", "принята", "ждите"],
    "Café déjà-vu": ["café", "déjà", "vu"],
    "हिन्दी में": ["हिन्दी", "में"],  # marks stay with their letters
    "iPhone手机15": ["iphone", "手", "机", "15"],
    "東京へ": ["東", "京", "へ"],
    "กำลัง": ["กํ", "า", "ลั", "ง"],
    "한국어 텍스트": ["한국어", "텍스트"],
    "می\u200cخواهم": ["میخواهم"],  # a joiner that is not seen parts no word
    "२०२४ x_y": ["२०२४", "x", "y"],
    "Straße ﬁne": ["strasse", "fine"],
}


@pytest.mark.parametrize(("text", "words"), WORDS.items())
def test_words_of_every_script(text, words):
    assert words_of(text) == words


@pytest.mark.parametrize("text", ["заявка принята", "日本語の文", "ภาษาไทย", "हिन्दी में", "ελληνικά", "العربية", "עברית", "አማርኛ"])
@pytest.mark.parametrize("kind", ["rouge1", "rougeL"])
def test_a_text_that_equals_its_reference_scores_one(text, kind):
    assert rouge(kind, [text], [[unicodedata.normalize("NFD", text)]]) == 1.0


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_texts_have_the_tokens_of_rouge_score(text):
    assert words_of(text) == tokenize(text, None)


@given(st.lists(st.text("ab ", max_size=12), min_size=1, max_size=3), st.text("ab ", max_size=12))
@pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL"])
def test_figures_are_those_of_rouge_score_to_the_bit(kind, references, text):
    assert rouge(kind, [text], [references]) == RougeScorer([kind]).score_multi(references, text)[kind].fmeasure


def test_pairs_of_words_and_the_best_reference():
    # pairs of "a b c": ab, bc; of "a b d": ab, bd: precision 1/2, recall 1/2; the other reference has no pair in common
    assert rouge("rouge2", ["a b c"], [["x y", "a b d"]]) == pytest.approx(0.5)
    # text 1 against "a b c": precision 2/2, recall 2/3, F = 0.8; text 2: 0
    assert rouge("rougeL", ["a c", "q"], [["x", "a b c"], ["z"]]) == pytest.approx(0.4)
    assert rouge("rouge1", [""], [["the cat"]]) == 0
