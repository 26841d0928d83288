"""Metrics of texts and classes, each from a well-kept library, on one scale each.

BLEU and chrF run from 0 to 100 as sacrebleu gives them; accuracy and macro-F1 run from 0 to 1. BLEU, chrF and macro-F1 are no means: over
several clients they follow from counts, which add up; see `FROM_COUNTS`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import SettingError

TOKENIZERS = ("13a", "intl", "char", "zh", "none")


@dataclass(frozen=True, kw_only=True)
class Bleu:
    """How BLEU is counted; the same settings are written into its signature."""

    lowercase: bool = False  # True gives the figure of the E2E script
    tokenize: str = "13a"  # the name of one of sacrebleu's tokenizers

    def __post_init__(self) -> None:
        if not isinstance(self.lowercase, bool):
            raise SettingError(f"lowercase is true or false; got {self.lowercase!r}")
        if self.tokenize not in TOKENIZERS:
            raise SettingError(f"tokenize is one of {', '.join(TOKENIZERS)} (sacrebleu's tokenizers); got {self.tokenize!r}")


@dataclass(frozen=True, kw_only=True)
class CorpusScore:
    """A metric of one corpus of texts, 0 to 100, the counts that it is made of, and sacrebleu's signature of how it was counted."""

    score: float
    counts: Sequence[int]
    signature: str


def bleu(texts: Sequence[str], references: Sequence[Sequence[str]], settings: Bleu | None = None) -> CorpusScore:
    """Return the BLEU of `texts` as one corpus.

    Args:
        references: one or more for each text; their numbers may differ.
    """
    from sacrebleu.metrics import BLEU

    settings = settings or Bleu()
    return _of_corpus(BLEU(lowercase=settings.lowercase, tokenize=settings.tokenize), texts, references)


def chrf(texts: Sequence[str], references: Sequence[Sequence[str]]) -> CorpusScore:
    """Return the chrF2 of `texts` as one corpus; of several references the best counts."""
    from sacrebleu.metrics import CHRF

    return _of_corpus(CHRF(), texts, references)


def _of_corpus(metric: Any, texts: Sequence[str], references: Sequence[Sequence[str]]) -> CorpusScore:
    rows = metric._extract_corpus_statistics(
        list(texts), streams(references)
    )  # sums of these make the score; nothing public tells them
    counts = [sum(column) for column in zip(*rows, strict=True)]
    return CorpusScore(score=_score_of(metric, counts), counts=counts, signature=str(metric.get_signature()))


def _score_of(metric: Any, counts: Sequence[int]) -> float:
    return float(metric._compute_score_from_stats(list(counts)).score)


def bleu_of(counts: Sequence[int]) -> float:
    """Return the BLEU of a corpus from its counts; how texts were tokenized is in these."""
    from sacrebleu.metrics import BLEU

    return _score_of(BLEU(), counts)


def chrf_of(counts: Sequence[int]) -> float:
    """Return the chrF2 of a corpus from its counts."""
    from sacrebleu.metrics import CHRF

    return _score_of(CHRF(), counts)


def streams(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """Return references as sacrebleu takes them: the first of every text, the second, ...; None where a text has fewer."""
    most = max(map(len, references))
    return [[given[place] if place < len(given) else None for given in references] for place in range(most)]


def accuracy(predicted: Sequence[int], labels: Sequence[int]) -> float:
    """Return the share of predictions that are right."""
    return sum(a == b for a, b in zip(predicted, labels, strict=True)) / len(labels)


def class_counts(predicted: Sequence[int], labels: Sequence[int], classes: int) -> list[int]:
    """Return for each class how often it was predicted and right, then for each how often it was right, then how often predicted."""
    counts = [0] * (3 * classes)
    for said, label in zip(predicted, labels, strict=True):
        counts[label] += said == label
        counts[classes + label] += 1
        counts[2 * classes + said] += 1
    return counts


def macro_f1(counts: Sequence[int]) -> float:
    """Return the mean F1 over the classes that occur among predictions or labels, from `class_counts`."""
    classes = len(counts) // 3
    hits, labels, predicted = counts[:classes], counts[classes : 2 * classes], counts[2 * classes :]
    scores = [2 * hit / (right + said) for hit, right, said in zip(hits, labels, predicted, strict=True) if right + said]
    return math.fsum(scores) / len(scores)


FROM_COUNTS: Mapping[str, Callable[[Sequence[int]], float]] = {"bleu": bleu_of, "chrf": chrf_of, "macro_f1": macro_f1}


def perplexity(loss_sum: float, count: int) -> float:
    """Return exp(loss_sum / count), per token or per word as `count` is; infinite where it is beyond all numbers."""
    mean = loss_sum / count
    return math.inf if mean >= 700 else math.exp(mean)
