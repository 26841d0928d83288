"""Split learning: a model cut between clients and server."""

from ...messages.wires.table import WIRES, Wire
from .ready import SplitRun, split_run
from .settings import Split
from .terms import terms_of

__all__ = ["WIRES", "Split", "SplitRun", "Wire", "split_run", "terms_of"]
