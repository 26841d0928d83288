"""Retrieval: questions go to clients, scores come back, then what the winners let out."""

from .client import RetrievalHalf
from .ready import RetrievalRun
from .server import Courier
from .settings import Retrieval

__all__ = ["Courier", "Retrieval", "RetrievalHalf", "RetrievalRun"]
