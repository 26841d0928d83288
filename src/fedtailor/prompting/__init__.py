"""Prompting: prompts as records, edited, scored on texts and chosen by successive halving; weights stay as they are."""

from .halving import Halving, State, add_scores, advance, begin, examples_of, state_from_json
from .pool import builtin_pool, read_pool
from .prompt import Layout, Prompt, prompt_from_json
from .score import Score, score_labels, score_references

__all__ = [
    "Halving",
    "Layout",
    "Prompt",
    "Score",
    "State",
    "add_scores",
    "advance",
    "begin",
    "builtin_pool",
    "examples_of",
    "prompt_from_json",
    "read_pool",
    "score_labels",
    "score_references",
    "state_from_json",
]
