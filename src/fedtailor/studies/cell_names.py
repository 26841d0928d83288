"""Names of cells, and values as short texts: a folder's name says the settings of the cell in it."""

import hashlib
import re
from typing import Any

from ..yaml_text import write_yaml

MOST_OF_A_VALUE = 32  # characters of a value in a folder's name; what is left out goes into a hash
MOST_OF_A_LABEL = 64  # likewise, where a section is named by what differs
MOST_OF_A_NAME = 150


class Label(str):
    """A section in short: what differs between it and the others."""

    __slots__ = ()


def cell_name(settings: dict[str, Any]) -> str:
    """Return a name for a folder that says the settings: tuning.rank=2_seed=0; equal settings have equal names."""
    name = "_".join(f"{key}={_slug(value)}" for key, value in settings.items())
    return name if len(name) <= MOST_OF_A_NAME else f"{name[: MOST_OF_A_NAME - 9]}-{_mark(name)}"


def value_text(value: object) -> str:
    """Return a value as it is written in a job, on one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {value_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(value_text, value)) + "]"
    return write_yaml(value).splitlines()[0]


def _slug(value: object) -> str:
    text = value_text(value)
    of_section = isinstance(value, Label)
    plain = re.sub(r"[^\w.+=,-]+" if of_section else r"[^\w.+-]+", "-", text.replace(", ", ",")).strip("-.")
    most = MOST_OF_A_LABEL if of_section else MOST_OF_A_VALUE
    if plain == (text.replace(", ", ",") if of_section else text) and len(plain) <= most:
        return plain
    return f"{plain[:most].rstrip('-')}-{_mark(text)}".lstrip("-")


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
