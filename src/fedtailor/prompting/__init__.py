"""Prompting: prompts as records, edited, scored on texts and chosen by successive halving; weights stay as they are."""

from .halving import Halving, State, add_scores, advance, begin, examples_of, rungs, state_from_json
from .pool import builtin_pool, prompt_of, read_pool
from .prompt import Layout, Prompt, prompt_from_json
from .reader import PromptReader
from .references import ReferenceReading
from .score import NEUTRAL, Reading, Score, score_labels

__all__ = [
    "NEUTRAL",
    "Halving",
    "Layout",
    "Prompt",
    "PromptReader",
    "Reading",
    "ReferenceReading",
    "Score",
    "State",
    "add_scores",
    "advance",
    "begin",
    "builtin_pool",
    "examples_of",
    "prompt_from_json",
    "prompt_of",
    "read_pool",
    "rungs",
    "score_labels",
    "state_from_json",
]
