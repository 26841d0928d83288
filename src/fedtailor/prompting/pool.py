"""The pool: the prompts that a search starts from, built in or read from the user's file."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from ..errors import SettingError
from ..yaml_text import read_yaml_file
from .prompt import Layout, Prompt, checked_keys, layout_from

CLASSES = (
    "",
    "Classify the text.",
    "Decide which category the text belongs to.",
    "What is this text about? Answer with its category.",
    "Read the text and name its category.",
    "You sort messages. Name the category of each message.",
    "Assign the best category to the message below.",
    "The following is a message and its category.",
    "Each text has one category.",
    "A customer writes to a service desk. Name the topic of the message.",
    "Label the text with its topic.",
    "Think about what the writer wants, then name the category.",
)
TEXTS = (
    "",
    "Write the output that belongs to the input.",
    "Turn the input into one fluent sentence.",
    "Describe the input in plain words.",
    "Rewrite the facts below as a natural text.",
    "The following facts are followed by a text that states them.",
    "Answer briefly and correctly.",
    "State all facts of the input, and no other.",
    "Data and its description.",
    "Write a short text that says what the input says.",
    "Use every value of the input once.",
    "Read the input and write the answer.",
)
CLASS_LAYOUTS = (
    Layout(),
    Layout(text="Message: ", answer="\nTopic:"),
    Layout(text="", answer=" This text is about:"),
)
TEXT_LAYOUTS = (
    Layout(text="Input: ", answer="\nOutput:"),
    Layout(text="", answer=" =>"),
    Layout(text="Data: ", answer="\nText:"),
)


def builtin_pool(labels: Sequence[str] = (), *, layouts: int = 1) -> tuple[Prompt, ...]:
    """Return the built-in prompts: 12 instructions times the first `layouts` of 3; for free text if there are no labels."""
    instructions, forms = (CLASSES, CLASS_LAYOUTS) if labels else (TEXTS, TEXT_LAYOUTS)
    return tuple(
        Prompt(instruction=text, layout=layout, labels=tuple(labels)) for layout, text in product(forms[:layouts], instructions)
    )


def read_pool(path: Path, labels: Sequence[str] = ()) -> tuple[Prompt, ...]:
    """Return the prompts of a YAML file: a list of instructions, each a text or `{instruction: …, layout: {…}}`.

    Raises:
        SettingError: if the file is missing, empty, holds something else, or the same prompt twice and nothing besides.
    """
    raw = read_entries(path)
    return without_twins([prompt_of(entry, f"{path}, prompt {number}", labels) for number, entry in enumerate(raw, 1)], str(path))


def read_entries(path: Path) -> list[Any]:
    """Return the entries of such a file as they stand there.

    Raises:
        SettingError: if the file is missing, or holds no list.
    """
    raw = read_yaml_file(path, "the pool of prompts")
    if not isinstance(raw, list) or not raw:
        raise SettingError(f"{path}: expected a list of instructions, as in '- Classify the text.'; found {str(raw)[:60]!r}.")
    return raw


def without_twins(prompts: Sequence[Prompt], where: str) -> tuple[Prompt, ...]:
    """Return the prompts, each once, in their order.

    Raises:
        SettingError: if several were given and all are the same.
    """
    apart = tuple(dict.fromkeys(prompts))
    if len(prompts) > 1 and len(apart) == 1:
        raise SettingError(f"{where}: all {len(prompts)} prompts are the same; a search needs prompts that differ.")
    return apart


def prompt_of(entry: Any, where: str, labels: Sequence[str]) -> Prompt:
    """Return the prompt of one entry of a pool.

    Raises:
        SettingError: if it is neither a text nor keys with an instruction.
    """
    if isinstance(entry, str):
        entry = {"instruction": entry}
    if not isinstance(entry, dict) or not isinstance(entry.get("instruction"), str):
        raise SettingError(f"{where}: expected a text, or keys with a text as instruction; found {str(entry)[:60]!r}.")
    checked_keys(entry, {"instruction", "layout"}, where)
    layout = layout_from(entry["layout"], where) if "layout" in entry else (CLASS_LAYOUTS if labels else TEXT_LAYOUTS)[0]
    return Prompt(instruction=entry["instruction"], layout=layout, labels=tuple(labels))
