"""What the metrics are called and mean."""

from .figure import COUNTS, HIGHER_IS_BETTER, METRICS, MetricInfo
from .own import OwnMetric

__all__ = ["COUNTS", "HIGHER_IS_BETTER", "METRICS", "MetricInfo", "OwnMetric"]
