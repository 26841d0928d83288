"""A prompt as a frozen record: what is scored is what is used, byte for byte.

Trap that this avoids: a prompt that is rebuilt outside of the search by other code scores far worse than it did inside
(DSPy, issue 8042). Here `Prompt` alone turns its parts into text, in the search, in the result and at any client.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import SettingError
from ..text_files import read_json

MOST_CHARACTERS = 4_000  # of one prompt, shots included
MOST_SHOTS = 64  # of a client's own examples
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a prompt's parts are laid out."""

    text: str = "Text: "  # in front of each text
    answer: str = "\nCategory:"  # between a text and its answer
    gap: str = "\n\n"  # between instruction, examples and the text in question
    list_labels: bool = False  # whether the labels are listed after the instruction
    instruction_last: bool = False  # whether the instruction follows the examples


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Instruction, layout and examples; `labels` are the answers that a text may have, none for free text."""

    instruction: str
    layout: Layout = field(default_factory=Layout)
    shots: tuple[tuple[str, str], ...] = ()  # (text, answer), that travel with the prompt
    own_shots: int = 0  # examples that each client puts in from its own, behind `shots`; none of them is in the file
    labels: tuple[str, ...] = ()
    vectors: str = ""  # a soft prompt between each text and its answer; see `vectors.py`

    def __post_init__(self) -> None:
        if len(self.head()) > MOST_CHARACTERS:
            raise SettingError(
                f"the prompt that begins {self.instruction[:40]!r} has {len(self.head()):,} characters with its {len(self.shots)} "
                f"examples; at most {MOST_CHARACTERS:,} travel. Shorten it, or use fewer examples."
            )
        if not self.layout.answer.strip() or self.layout.answer[-1:].isspace():
            raise SettingError(
                f"layout.answer is {self.layout.answer!r}; it needs a word or sign and no blank at its end, "
                "since the answer brings its own: write it as in 'Category:'."
            )

    def head(self) -> str:
        """Return what stands before every text: the same for all, so that a model reads it once."""
        instruction = [self.instruction] if self.instruction else []
        if self.layout.list_labels and self.labels:
            instruction.append("Categories: " + ", ".join(self.labels) + ".")
        opening = [" ".join(instruction)] if instruction else []
        shots = [f"{self.layout.text}{text}{self.layout.answer} {answer}" for text, answer in self.shots]
        parts = shots + opening if self.layout.instruction_last else opening + shots
        return "".join(part + self.layout.gap for part in parts)

    def tail(self, text: str) -> str:
        """Return what follows the head for one text, up to its answer."""
        return f"{self.layout.text}{text}{self.layout.answer}"

    def answer(self, label: str) -> str:
        """Return an answer as it follows `tail`: with a blank in front."""
        return " " + label

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return the file `prompt.json`: the same prompt gives the same bytes; without `indent` on one line."""
        content = {"version": VERSION, **asdict(self)}
        if not self.own_shots:
            del content["own_shots"]  # as the files of earlier versions have it
        return json.dumps(content, ensure_ascii=False, indent=indent, sort_keys=True) + "\n"


def prompt_from_json(text: str, where: str = "prompt.json") -> Prompt:
    """Return the prompt that `Prompt.to_json` wrote.

    Raises:
        SettingError: if the text is no such file, or holds keys or values of another kind.
    """
    raw = read_json(text, where)
    if not isinstance(raw, dict) or raw.get("version") != VERSION:
        raise SettingError(f"{where} is not a prompt of version {VERSION}; use the file that a prompt search wrote.")
    checked_keys(raw, {"version", *(each.name for each in fields(Prompt))}, where)
    layout, shots, labels = raw.get("layout", {}), raw.get("shots", []), raw.get("labels", [])
    vectors = raw.get("vectors", "")
    pairs = isinstance(shots, list) and all(isinstance(shot, list) and len(shot) == 2 and _texts(shot) for shot in shots)
    if not isinstance(raw.get("instruction"), str) or not pairs or not _texts(labels) or not isinstance(vectors, str):
        raise SettingError(
            f"{where}: expected a text as instruction, a text as vectors, pairs of texts as shots and a list of texts as labels."
        )
    own = raw.get("own_shots", 0)
    if isinstance(own, bool) or not isinstance(own, int) or not 0 <= own <= MOST_SHOTS:
        raise SettingError(f"{where}: own_shots is a whole number from 0 to {MOST_SHOTS}; found {own!r}.")
    return Prompt(
        instruction=raw["instruction"],
        own_shots=own,
        layout=layout_from(layout, where),
        shots=tuple((shot[0], shot[1]) for shot in shots),
        labels=tuple(labels),
        vectors=vectors,
    )


def layout_from(raw: Any, where: str) -> Layout:
    """Return a layout read from a file.

    Raises:
        SettingError: if a key is unknown or a value of another kind.
    """
    if not isinstance(raw, Mapping):
        raise SettingError(f"{where}: layout is {raw!r}; expected keys and values such as answer: 'Category:'.")
    checked_keys(raw, {each.name for each in fields(Layout)}, where)
    for each in fields(Layout):
        if each.name in raw and not isinstance(raw[each.name], type(each.default)):
            raise SettingError(f"{where}: layout.{each.name} is {raw[each.name]!r}; expected a {type(each.default).__name__}.")
    return Layout(**raw)


def checked_keys(raw: Mapping[Any, Any], known: set[str], where: str) -> None:
    """Refuse keys that nothing reads.

    Raises:
        SettingError: naming the first of them and what there is.
    """
    unknown = sorted(str(key) for key in raw if key not in known)
    if unknown:
        raise SettingError(f"{where}: nothing reads the key {unknown[0]!r}; there are {', '.join(sorted(known))}.")


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
