"""What a person asks for, read and checked."""

from ..yaml_text import example_job
from .job import Job, Stop

__all__ = ["Job", "Stop", "example_job"]
