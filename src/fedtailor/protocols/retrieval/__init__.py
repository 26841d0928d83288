"""Retrieval: questions go to clients, scores come back, then what the winners let out."""

from .ready import RetrievalRun
from .settings import Retrieval

__all__ = ["Retrieval", "RetrievalRun"]
