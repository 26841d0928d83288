"""Where commands print: results on stdout, progress and complaints on stderr."""

import os
import sys
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from ..printable import json_text, printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

PLAIN_WIDTH = 120  # columns where the output is not a terminal, and COLUMNS says nothing
LONGEST_WORD = 200  # signs of one word in a complaint; a longer one is a value that somebody gave, cut in the middle


@cache
def _console(stderr: bool) -> "Console":
    return _console_class()(stderr=stderr, width=_width(stderr), highlight=False, markup=False, emoji=False)


@cache
def _console_class() -> "type[Console]":
    """Return rich's console with one thing more: no sign that a terminal would obey reaches it from a text of others."""
    from rich.console import Console
    from rich.segment import Segment

    class Edge(Console):
        def render_str(self, text: str, **options: Any) -> "Text":  # so that the width is that of what is written out
            return super().render_str(printable(text), **options)

        def render(self, renderable: "RenderableType", options: "ConsoleOptions | None" = None) -> "Iterable[Segment]":
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(printable(segment.text), segment.style)

    return Edge


def _width(stderr: bool) -> int | None:
    """Return the columns that are asked for by COLUMNS, or None for those of the terminal."""
    if (sys.stderr if stderr else sys.stdout).isatty():
        return None
    asked = os.environ.get("COLUMNS", "")
    return int(asked) if asked.isdecimal() and 20 <= int(asked) <= 1000 else PLAIN_WIDTH


def out() -> "Console":
    """Return the console for results."""
    return _console(stderr=False)


def err() -> "Console":
    """Return the console for everything else."""
    return _console(stderr=True)


def say(markup: str, **values: object) -> None:
    """Print a line on stdout in rich's markup; `values` take the places of {names} and stay as they are, brackets and all."""
    from rich.markup import escape

    line = markup.format(**{name: escape(str(value)) for name, value in values.items()})
    out().print(line, markup=True, soft_wrap=True)


def print_json(value: object) -> None:
    """Print a value on stdout as one strict JSON document: null stands for what is not finite."""
    from ..run_files import finite

    sys.stdout.write(json_text(finite(value), indent=2, allow_nan=False, default=str) + "\n")


def complain(text: str) -> None:
    """Print one paragraph about a fault."""
    from rich.text import Text

    words = (printable(word) for word in text.split())
    paragraph = " ".join(word if len(word) <= LONGEST_WORD else f"{word[:100]}…{word[-40:]}" for word in words)
    err().print(Text.assemble(("error  ", "bold red"), paragraph), soft_wrap=not sys.stderr.isatty())


def note(text: str) -> None:
    """Print one quiet line that is not a result."""
    from rich.text import Text

    err().print(Text(printable(text), style="dim"), soft_wrap=not sys.stderr.isatty())
