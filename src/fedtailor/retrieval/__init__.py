"""Retrieval: documents cut into passages, indexed at each client, found by meaning and by words, read with their sources."""

from .asking import Found
from .collection import Asked, Indexed, ask, index_folders, open_collection
from .documents import Columns
from .evaluate import evaluate
from .federated import Federation
from .passages import Chunks
from .question import SentQuestion
from .router import Router, Routing
from .search import Score

__all__ = [
    "Asked",
    "Chunks",
    "Columns",
    "Federation",
    "Found",
    "Indexed",
    "Router",
    "Routing",
    "Score",
    "SentQuestion",
    "ask",
    "evaluate",
    "index_folders",
    "open_collection",
]
