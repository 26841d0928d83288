"""Prompting: the server proposes prompts, clients score them on their own examples."""

from collections.abc import Mapping

from .black_box import BlackBox
from .method import Method
from .ready import PromptingRun, prompting_run
from .search import Search
from .settings import Prompting
from .textual import TextualGradient

METHODS: Mapping[str, type] = {"search": Search, "black-box": BlackBox, "textual-gradient": TextualGradient}

__all__ = ["METHODS", "BlackBox", "Method", "Prompting", "PromptingRun", "Search", "TextualGradient", "prompting_run"]
