"""Retrieval: documents cut into passages, indexed at each client, found by meaning and by words, read with their sources."""

from .collection import Asked, Indexed, ask, index_folders, open_collection
from .documents import Columns
from .evaluate import evaluate
from .federated import Federation, Found, Routing
from .passages import Chunks
from .search import Score

__all__ = [
    "Asked",
    "Chunks",
    "Columns",
    "Federation",
    "Found",
    "Indexed",
    "Routing",
    "Score",
    "ask",
    "evaluate",
    "index_folders",
    "open_collection",
]
