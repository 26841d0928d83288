"""Metrics of generated texts, each from a well-kept library, on one scale each.

BLEU and chrF run from 0 to 100 as sacrebleu gives them. They are no means: over several clients they follow from counts, which add up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import SettingError
from .rouge import rouge

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
class TextScore:
    """A metric of one corpus of texts; if it is no mean, the counts that it is made of, and sacrebleu's signature of how it was counted."""

    score: float
    counts: Sequence[int] = ()
    signature: str | None = None


def bleu(texts: Sequence[str], references: Sequence[Sequence[str]], settings: Bleu | None = None) -> TextScore:
    """Return the BLEU of `texts` as one corpus.

    Args:
        references: one or more for each text; their numbers may differ.
    """
    from sacrebleu.metrics import BLEU

    settings = settings or Bleu()
    return _of_corpus(BLEU(lowercase=settings.lowercase, tokenize=settings.tokenize), texts, references)


def chrf(texts: Sequence[str], references: Sequence[Sequence[str]], settings: Bleu | None = None) -> TextScore:
    """Return the chrF2 of `texts` as one corpus; of several references the best counts. The settings of BLEU have no influence."""
    from sacrebleu.metrics import CHRF

    return _of_corpus(CHRF(), texts, references)


def _of_corpus(metric: Any, texts: Sequence[str], references: Sequence[Sequence[str]]) -> TextScore:
    rows = metric._extract_corpus_statistics(
        list(texts), streams(references)
    )  # sums of these make the score; nothing public gives them
    counts = [sum(column) for column in zip(*rows, strict=True)]
    return TextScore(score=_score_of(metric, counts), counts=counts, signature=str(metric.get_signature()))


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


def rouge_score(kind: str) -> Callable[[Sequence[str], Sequence[Sequence[str]], Bleu | None], TextScore]:
    """Return what scores texts by a ROUGE F-measure, 0 to 1; see `rouge.rouge`."""

    def score(texts: Sequence[str], references: Sequence[Sequence[str]], settings: Bleu | None = None) -> TextScore:
        return TextScore(score=rouge(kind, texts, references))

    return score
