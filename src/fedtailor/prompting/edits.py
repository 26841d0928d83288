"""Edits: deterministic changes of a prompt's text and layout, drawn by a generator.

No model is asked. Paraphrases by a model of 135 million weights were unusable: it answers instead of rewriting.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..errors import SettingError
from .prompt import Prompt

CUES = (
    "Be precise.",
    "Answer with the category alone.",
    "Choose the most specific answer.",
    "Read carefully.",
    "Look at the main intent.",
    "Give exactly one answer.",
)
TEXT_CUES = ("Text: ", "Message: ", "Input: ", "Question: ", "")
ANSWER_CUES = ("\nCategory:", "\nTopic:", "\nAnswer:", "\nIntent:", "\nOutput:", " =>")
GAPS = ("\n\n", "\n", "\n###\n")
TRIES = 20  # draws for a child before there are fewer children

Edit = Callable[[Prompt, Prompt, np.random.Generator], Prompt]


def drop(prompt: Prompt, other: Prompt, rng: np.random.Generator) -> Prompt:
    """Return the prompt without one of its sentences; unchanged if it has one or none."""
    parts = sentences(prompt.instruction)
    if len(parts) < 2:
        return prompt
    gone = int(rng.integers(len(parts)))
    return replace(prompt, instruction=" ".join(parts[:gone] + parts[gone + 1 :]))


def swap(prompt: Prompt, other: Prompt, rng: np.random.Generator) -> Prompt:
    """Return the prompt with two neighbouring sentences exchanged; unchanged if it has one or none."""
    parts = sentences(prompt.instruction)
    if len(parts) < 2:
        return prompt
    at = int(rng.integers(len(parts) - 1))
    parts[at], parts[at + 1] = parts[at + 1], parts[at]
    return replace(prompt, instruction=" ".join(parts))


def insert(prompt: Prompt, other: Prompt, rng: np.random.Generator) -> Prompt:
    """Return the prompt with a sentence from the public list at a drawn place; unchanged if it holds that sentence."""
    cue, parts = CUES[int(rng.integers(len(CUES)))], sentences(prompt.instruction)
    if cue in parts:
        return prompt
    at = int(rng.integers(len(parts) + 1))
    return replace(prompt, instruction=" ".join([*parts[:at], cue, *parts[at:]]))


def recombine(prompt: Prompt, other: Prompt, rng: np.random.Generator) -> Prompt:
    """Return the first half of the prompt's sentences and the second half of the other's, with the layout of either."""
    first, second = sentences(prompt.instruction), sentences(other.instruction)
    text = " ".join(dict.fromkeys(first[: (len(first) + 1) // 2] + second[len(second) // 2 :]))
    return replace(prompt, instruction=text, layout=(prompt, other)[int(rng.integers(2))].layout)


def layout(prompt: Prompt, other: Prompt, rng: np.random.Generator) -> Prompt:
    """Return the prompt with one drawn thing of its layout drawn again."""
    now = prompt.layout
    changes = (
        replace(now, text=TEXT_CUES[int(rng.integers(len(TEXT_CUES)))]),
        replace(now, answer=ANSWER_CUES[int(rng.integers(len(ANSWER_CUES)))]),
        replace(now, gap=GAPS[int(rng.integers(len(GAPS)))]),
        replace(now, list_labels=not now.list_labels and bool(prompt.labels)),
        replace(now, instruction_last=not now.instruction_last and bool(prompt.shots or prompt.own_shots)),
    )
    return replace(prompt, layout=changes[int(rng.integers(len(changes)))])


EDITS: Mapping[str, Edit] = {"drop": drop, "swap": swap, "insert": insert, "recombine": recombine, "layout": layout}


def children(
    parents: Sequence[Prompt],
    count: int,
    rng: np.random.Generator,
    *,
    names: Sequence[str] = tuple(EDITS),
    seen: Sequence[Prompt] = (),
) -> tuple[Prompt, ...]:
    """Return up to `count` new prompts made from `parents`; none of them equals a parent, another child or one of `seen`.

    A child that is known is drawn again, at most 20 times; then there are fewer children.

    Raises:
        SettingError: if children are wanted of no parent or by no edit, or an edit has an unknown name.
    """
    if unknown := [name for name in names if name not in EDITS]:
        raise SettingError(f"there is no edit {unknown[0]!r}; choose from {', '.join(EDITS)}.")
    if count and not (parents and names):
        raise SettingError("children need at least one parent and one edit.")
    known, made = {*parents, *seen}, list[Prompt]()
    for _ in range(count):
        for _ in range(TRIES):
            child = _draw(parents, rng, names)
            if child is not None and child not in known:
                known.add(child)
                made.append(child)
                break
    return tuple(made)


def _draw(parents: Sequence[Prompt], rng: np.random.Generator, names: Sequence[str]) -> Prompt | None:
    """Return one child, or None where it grew longer than prompts may be."""
    parent, other = (parents[int(rng.integers(len(parents)))] for _ in range(2))
    try:
        return EDITS[names[int(rng.integers(len(names)))]](parent, other, rng)
    except SettingError:
        return None


def sentences(text: str) -> list[str]:
    """Return the sentences of a text; a blank after a full stop, question or exclamation mark parts them."""
    return [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]
