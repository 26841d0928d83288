"""What a person looks at afterwards: tables of one run, and of several side by side."""

from .read import Run, read_run
from .run.tables import show
from .several.comparison import compare

__all__ = ["Run", "compare", "read_run", "show"]
