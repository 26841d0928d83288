"""A run that is under way, as a page that renews itself: on this machine alone, by a process that reads the run's folder."""

from .serve import check_live, serve

__all__ = ["check_live", "serve"]
