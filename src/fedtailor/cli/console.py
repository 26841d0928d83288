"""Where commands print: results on stdout, progress and complaints on stderr."""

import json
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 120  # columns where the output is not a terminal


@cache
def _console(stderr: bool) -> "Console":
    from rich.console import Console

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if terminal else PLAIN_WIDTH, highlight=False)


def out() -> "Console":
    """Return the console for results."""
    return _console(stderr=False)


def err() -> "Console":
    """Return the console for everything else."""
    return _console(stderr=True)


def print_json(value: object) -> None:
    """Print a value on stdout as one strict JSON document: null stands for what is not finite."""
    from ..run_files import finite

    sys.stdout.write(json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def complain(text: str) -> None:
    """Print one paragraph about a fault."""
    from rich.text import Text

    paragraph = " ".join(text.split())
    err().print(Text.assemble(("error  ", "bold red"), paragraph), soft_wrap=not sys.stderr.isatty())


def note(text: str) -> None:
    """Print one quiet line that is not a result."""
    from rich.text import Text

    err().print(Text(text, style="dim"), soft_wrap=not sys.stderr.isatty())
