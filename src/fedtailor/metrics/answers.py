"""Metrics of answers to questions, and of the passages that were found for them.

Source: Rajpurkar et al., 2016, arXiv:1606.05250, section 6.1 (exact match, F1 of words), with the normalization of its evaluation script.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from .texts import Bleu, TextScore

ARTICLES = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(answer: str) -> str:
    """Return an answer without case, punctuation, English articles and further white space."""
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(NO_PUNCTUATION)).split())


def exact_match(answer: str, right: Sequence[str]) -> float:
    """Return 1 if an answer is one of the right ones, else 0."""
    return float(any(normalized(answer) == normalized(one) for one in right))


def answer_f1(answer: str, right: Sequence[str]) -> float:
    """Return the F1 of the words of an answer against the best of the right ones, 0 to 1."""
    return max((_f1(normalized(answer).split(), normalized(one).split()) for one in right), default=0.0)


def contains_answer(answer: str, right: Sequence[str]) -> float:
    """Return 1 if one of the right answers stands in an answer, else 0."""
    return float(any(f" {normalized(one)} " in f" {normalized(answer)} " for one in right))


def f1_of(texts: Sequence[str], references: Sequence[Sequence[str]], settings: Bleu | None = None) -> TextScore:
    """Return the mean F1 of the first lines of `texts`, each with the best of its references. The settings of BLEU have no influence."""
    return _mean_of(answer_f1, texts, references)


def exact_match_of(texts: Sequence[str], references: Sequence[Sequence[str]], settings: Bleu | None = None) -> TextScore:
    """Return the share of `texts` whose first line is one of its references. The settings of BLEU have no influence."""
    return _mean_of(exact_match, texts, references)


def _mean_of(
    score: Callable[[str, Sequence[str]], float], texts: Sequence[str], references: Sequence[Sequence[str]]
) -> TextScore:
    scores = [score(_first_line(text), right) for text, right in zip(texts, references, strict=True)]
    return TextScore(score=sum(scores) / len(scores))


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _f1(words: Sequence[str], right: Sequence[str]) -> float:
    if not words or not right:
        return float(words == right)
    common = (Counter(words) & Counter(right)).total()
    return 2 * common / (len(words) + len(right))


def recall_at(found: Sequence[str], right: Collection[str], k: int) -> float:
    """Return 1 if one of the right passages is among the first k that were found, else 0."""
    return float(any(one in right for one in found[:k]))


def reciprocal_rank(found: Sequence[str], right: Collection[str]) -> float:
    """Return 1 over the place of the first right passage, 0 if there is none."""
    return next((1 / place for place, one in enumerate(found, start=1) if one in right), 0.0)
