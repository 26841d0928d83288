"""What is known of each metric without computing it, so that reports need no model library."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

COUNTS = ("examples", "tokens", "words", "texts")  # figures that are numbers of things
SAMPLE_LOSS = "sample_loss"  # the loss on those rows of a validation part that a round's gain is measured on
OF_COUNTS = "_counts"  # ends the name of the counts that a metric is made of, which add up over clients


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """One metric: how it is called, which end of it is the good one, and what its mean over clients is weighted by."""

    title: str
    higher_is_better: bool
    digits: int = 3  # behind the point
    unit: Literal["targets", "texts", "examples"] = "examples"
    is_mean: bool = True  # False: over several clients it follows from sums of counts, or there is none


METRICS: Mapping[str, MetricInfo] = {  # the one home of this knowledge, in the order of tables
    "loss": MetricInfo(title="loss", higher_is_better=False, unit="targets"),
    "perplexity": MetricInfo(title="perplexity", higher_is_better=False, digits=1, unit="targets"),
    "perplexity_word": MetricInfo(title="  per word", higher_is_better=False, digits=1, unit="targets"),
    "bleu": MetricInfo(title="BLEU", higher_is_better=True, digits=1, unit="texts", is_mean=False),
    "chrf": MetricInfo(title="chrF", higher_is_better=True, digits=1, unit="texts", is_mean=False),
    "rouge1": MetricInfo(title="ROUGE-1", higher_is_better=True, unit="texts"),
    "rouge2": MetricInfo(title="ROUGE-2", higher_is_better=True, unit="texts"),
    "rougeL": MetricInfo(title="ROUGE-L", higher_is_better=True, unit="texts"),
    "accuracy": MetricInfo(title="accuracy", higher_is_better=True),
    "macro_f1": MetricInfo(title="macro-F1", higher_is_better=True, is_mean=False),
}
HIGHER_IS_BETTER: Mapping[str, bool] = {name: info.higher_is_better for name, info in METRICS.items()}
