"""What is known of each metric without computing it, so that reports need no model library."""

from collections.abc import Mapping

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
