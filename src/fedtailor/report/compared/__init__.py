"""Several runs on one page."""

from .page import comparison_of, write_comparison
from .select import SWEEP, runs_in

__all__ = ["SWEEP", "comparison_of", "runs_in", "write_comparison"]
