"""Figures of merit for texts and classes, each from a well-kept library, on one scale each.

BLEU and chrF run from 0 to 100 as sacrebleu gives them; ROUGE-L, accuracy and macro-F1 run from 0 to 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
class BleuScore:
    """A BLEU figure, 0 to 100, and sacrebleu's signature of how it was counted."""

    score: float
    signature: str


def bleu(texts: Sequence[str], references: Sequence[Sequence[str]], settings: Bleu | None = None) -> BleuScore:
    """Return the BLEU of `texts` as one corpus.

    Args:
        references: one or more for each text; their numbers may differ.
    """
    from sacrebleu.metrics import BLEU

    settings = settings or Bleu()
    metric = BLEU(lowercase=settings.lowercase, tokenize=settings.tokenize)
    score = metric.corpus_score(list(texts), streams(references)).score
    return BleuScore(score=float(score), signature=str(metric.get_signature()))


def chrf(texts: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return the chrF2 of `texts` as one corpus, 0 to 100; of several references the best counts."""
    from sacrebleu.metrics import CHRF

    return float(CHRF().corpus_score(list(texts), streams(references)).score)


def streams(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """Return references as sacrebleu takes them: the first of every text, the second, ...; None where a text has fewer."""
    most = max(map(len, references))
    return [[given[place] if place < len(given) else None for given in references] for place in range(most)]


def rouge_l(texts: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return the mean over texts of the ROUGE-L F-measure, 0 to 1, each against its best reference; stems are not cut."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    best = [scorer.score_multi(list(given), text)["rougeL"].fmeasure for text, given in zip(texts, references, strict=True)]
    return math.fsum(best) / len(best)


def accuracy(predicted: Sequence[int], labels: Sequence[int]) -> float:
    """Return the share of predictions that are right."""
    return sum(a == b for a, b in zip(predicted, labels, strict=True)) / len(labels)


def macro_f1(predicted: Sequence[int], labels: Sequence[int]) -> float:
    """Return the mean F1 over the classes that occur among predictions or labels."""
    from sklearn.metrics import f1_score

    return float(f1_score(list(labels), list(predicted), average="macro", zero_division=0.0))


def perplexity(loss_sum: float, count: int) -> float:
    """Return exp(loss_sum / count), per token or per word as `count` is; infinite where it is beyond all numbers."""
    mean = loss_sum / count
    return math.inf if mean >= 700 else math.exp(mean)
