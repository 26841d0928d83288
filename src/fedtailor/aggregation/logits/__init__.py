"""How what several clients say of public examples becomes one teacher."""

from collections.abc import Mapping

from .ensemble import Ensemble
from .entropy_reduced import EntropyReduced
from .entropy_weights import EntropyWeights
from .label_counts import LabelCounts
from .mean import Mean
from .rule import Answer, LogitAggregation

LOGIT_AGGREGATIONS: Mapping[str, type] = {
    "mean": Mean,
    "entropy-reduced": EntropyReduced,
    "ensemble": Ensemble,
    "entropy-weights": EntropyWeights,
    "label-counts": LabelCounts,
}

__all__ = [
    "LOGIT_AGGREGATIONS",
    "Answer",
    "Ensemble",
    "EntropyReduced",
    "EntropyWeights",
    "LabelCounts",
    "LogitAggregation",
    "Mean",
]
