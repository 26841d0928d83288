"""Figures of merit for texts and classes, each from a well-kept library, on one scale each.

BLEU and chrF run from 0 to 100 as sacrebleu gives them; ROUGE-L, accuracy and macro-F1 run from 0 to 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import SettingError

TOKENIZERS = ("13a", "intl", "char", "zh", "none")

HIGHER_IS_BETTER: Mapping[str, bool] = {  # which end of a figure is the bad one: the one home of this knowledge
    "bleu": True,
    "chrf": True,
    "rougeL": True,
    "accuracy": True,
    "macro_f1": True,
    "loss": False,
    "perplexity": False,
    "perplexity_word": False,
}


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
