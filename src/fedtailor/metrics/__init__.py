"""What the metrics are called and mean, and how they are scored."""

from .figure import COUNTS, METRICS, Metric, directions
from .own import OwnMetric
from .texts import Bleu

__all__ = ["COUNTS", "METRICS", "Bleu", "Metric", "OwnMetric", "directions"]
