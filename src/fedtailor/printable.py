"""Texts of others made safe to look at: what would move a cursor, colour a terminal or turn a line round is written out.

Data, generations, labels, names of clients, texts of errors and files of models may hold any sign. They pass here on their way to a
terminal, a page or a log, and are kept as they are everywhere else.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

# control characters but tab and line end, marks that turn the direction of writing, halves of surrogate pairs, line ends of Unicode, tags
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff\ud800-\udfff\U000e0000-\U000e007f]")


def printable(text: str) -> str:
    """Return a text with each sign that a terminal would obey written out, as in \\x1b; line ends and tabs stay."""
    return text if text.isascii() and text.isprintable() else UNSAFE.sub(_written, text)


def look_alike(names: Iterable[str]) -> tuple[str, str] | None:
    """Return two names that differ by nothing that a reader sees: white space, invisible signs, or how an accent is written; None if there are none."""
    seen: dict[str, str] = {}
    for name in sorted(set(names)):
        visible = "".join(sign for sign in unicodedata.normalize("NFC", name) if unicodedata.category(sign) != "Cf")
        other = seen.setdefault(" ".join(visible.split()), name)
        if other != name:
            return other, name
    return None


def unfit_character(value: object) -> str:
    """Return what no text may hold, NUL or half of a surrogate pair, if a cell holds it; else nothing."""
    if isinstance(value, str):
        if "\0" in value:
            return "\0"
        half = None if value.isascii() else re.search("[\ud800-\udfff]", value)
        return half[0] if half else ""
    if isinstance(value, list):
        return next((bad for one in value if (bad := unfit_character(one))), "")
    if isinstance(value, Mapping):
        return next((bad for pair in value.items() for one in pair if (bad := unfit_character(one))), "")
    return ""


def json_text(value: Any, **options: Any) -> str:
    """Return a value as JSON that can be looked at, and that reads back the same."""
    text = json.dumps(value, ensure_ascii=False, **options)
    return UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1], text)  # such signs stand inside of strings alone


def _written(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
