"""Prompting: the server proposes prompts, clients score them on their own examples."""

from .ready import PromptingRun
from .search import METHODS, Method, Search
from .settings import Prompting

__all__ = ["METHODS", "Method", "Prompting", "PromptingRun", "Search"]
