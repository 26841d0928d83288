"""Examples that are shown in a prompt, drawn by seed: public ones, read from a file, or a client's own, which never leave it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..data.cells import cell
from ..errors import SettingError
from ..text_files import read_json, read_text
from .prompt import Prompt

Pair: TypeAlias = tuple[str, str]  # text and label's words


def read_shots(path: Path) -> tuple[Pair, ...]:
    """Return the examples of a JSON Lines file whose lines have text and label; underscores of labels are read as blanks.

    Numbers are read as texts, as those of a table of data are.

    Raises:
        SettingError: naming the line, if the file is missing, empty or holds something else.
    """
    lines = [line for line in read_text(path, "the file of public examples").split("\n") if line.strip()]
    if not lines:
        raise SettingError(f'{path} has no examples; expected lines such as {{"text": "...", "label": "..."}}.')
    found = []
    for number, line in enumerate(lines, 1):
        row: Any = read_json(line, f"{path}, line {number}")
        text, label = (cell(row.get(key)) if isinstance(row, dict) else None for key in ("text", "label"))
        if not (isinstance(text, str) and text.strip() and isinstance(label, str) and label.strip()):
            raise SettingError(f"{path}, line {number}: expected a text and a label, both texts; found {line[:60]!r}.")
        found.append((str(text), " ".join(label.replace("_", " ").split())))
    return tuple(found)


def draw_shots(public: Sequence[Pair], count: int, draw: np.random.Generator, labels: Sequence[str]) -> tuple[Pair, ...]:
    """Return `count` of the public examples, of as many labels as there can be.

    Raises:
        SettingError: if there are fewer, or one has a label that is none of `labels`.
    """
    if strange := [label for _, label in public if labels and label not in labels]:
        raise SettingError(f"a public example has the label {strange[0]!r}; the labels are {', '.join(list(labels)[:10])}.")
    if count > len(public):
        raise SettingError(f"prompts are to show {count} public examples, and the file has {len(public)}.")
    order = draw.permutation(len(public)).tolist()
    return tuple(public[row] for row in of_many_labels([(row, public[row][1]) for row in order], count))


def of_many_labels(order: Sequence[tuple[int, str]], count: int) -> list[int]:
    """Return the first `count` rows of an order of rows and their labels, of as many labels as there can be."""
    seen: dict[str, int] = {}
    ranks = {}
    for row, label in order:  # how many of its label come before it
        ranks[row] = seen.setdefault(label, 0)
        seen[label] += 1
    return sorted(ranks, key=lambda row: ranks[row])[:count]


def with_own(prompt: Prompt, own: Sequence[Pair]) -> Prompt:
    """Return a prompt with the first of a client's own examples, as many as it asks for and as have room in it."""
    for count in range(min(prompt.own_shots, len(own)), -1, -1):
        try:
            return replace(prompt, shots=(*prompt.shots, *own[:count]), own_shots=0)
        except SettingError:  # too long
            continue
    raise AssertionError
