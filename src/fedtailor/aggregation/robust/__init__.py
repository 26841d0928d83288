"""Rules that stand some clients that send anything: they look at each update, and count all clients alike."""

from collections.abc import Mapping

from .coordinates import Median, TrimmedMean
from .geometric_median import GeometricMedian
from .krum import Krum, MultiKrum
from .norm_clip import NormClip

ROBUST: Mapping[str, type] = {
    "median": Median,
    "trimmed-mean": TrimmedMean,
    "krum": Krum,
    "multi-krum": MultiKrum,
    "geometric-median": GeometricMedian,
    "norm-clip": NormClip,
}

__all__ = ["ROBUST", "GeometricMedian", "Krum", "Median", "MultiKrum", "NormClip", "TrimmedMean"]
