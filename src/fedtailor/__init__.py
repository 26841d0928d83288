"""Customize large models across private data.

from fedtailor import Job, run
result = run(Job.load("job.yaml"))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .job import Job
    from .retrieval import ask, index_folders
    from .running import Result, run

__all__ = ["Job", "Result", "ask", "index_folders", "run"]

_HOMES = {"Job": ".job", "Result": ".running", "run": ".running", "ask": ".retrieval", "index_folders": ".retrieval"}


def __getattr__(name: str) -> Any:
    """Load a part when it is first asked for, so that the command line answers at once."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
