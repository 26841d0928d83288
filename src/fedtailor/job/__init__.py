"""What a person asks for, read and checked."""

from .job import Job, Stop
from .text import example_job

__all__ = ["Job", "Stop", "example_job"]
