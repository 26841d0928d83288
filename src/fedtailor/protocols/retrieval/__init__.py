"""Retrieval: questions go to clients, scores come back, then what the winners let out."""

from .client import RetrievalHalf, index_examples
from .ready import RetrievalRun, retrieval_run
from .server import Courier
from .settings import Retrieval

__all__ = ["Courier", "Retrieval", "RetrievalHalf", "RetrievalRun", "index_examples", "retrieval_run"]
