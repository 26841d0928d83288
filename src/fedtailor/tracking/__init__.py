"""Experiment trackers, which get the server's figures of a run as it goes; a site never tracks."""

from .trackers import NAMES, Tracker, Trackers, check_trackers

__all__ = ["NAMES", "Tracker", "Trackers", "check_trackers"]
