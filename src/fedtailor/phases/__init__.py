"""What a run can do after its last round, where a job lists it."""

from collections.abc import Mapping

from .answering import Answers
from .check import check_phases

PHASES: Mapping[str, type] = {}  # none comes with fedtailor; a job may name a class of the user's own

__all__ = ["PHASES", "Answers", "check_phases"]
