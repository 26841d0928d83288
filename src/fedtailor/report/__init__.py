"""What a person looks at afterwards: tables of one run, and of several side by side."""

from .comparison import compare
from .read import Run, read_run
from .tables import show

__all__ = ["Run", "compare", "read_run", "show"]
