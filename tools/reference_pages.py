"""Write docs/reference/cli.md, and the causes in docs/how-to/troubleshooting.md, again from the code."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from fedtailor.cli.main import make_app
from fedtailor.known_causes import RULES

DOCS = Path(__file__).parents[1] / "docs"
HEAD = """# Commands

Every command has `--help`. `--debug` in any place shows the traceback of an error. Exit codes: 0 done, 2 the job, the data, the command or the environment must be fixed, 1 anything else.
`fedtailor --install-completion` completes commands in your shell. This page is made from the commands (`make tables`).
"""
CAUSES = re.compile(r"(<!-- causes -->\n).*?(<!-- end of causes -->)", re.S)


def cli_page() -> str:
    """Return the page of all commands."""
    return HEAD + "".join(_commands(typer.main.get_command(make_app()), "fedtailor"))


def _commands(group: Any, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        full = f"{path} {name}"
        if hasattr(command, "commands"):
            yield from _commands(command, full)
        elif not command.hidden:
            yield _one(command, full)


def _one(command: Any, path: str) -> str:
    """Return the section of one command: what it does, how it is typed, and its options."""
    words = [_metavar(one) for one in command.params if one.param_type_name == "argument"]
    text = f"\n## {path}\n\n{_plain(command.help)}\n\n```bash\n{' '.join([path, *words])}\n```\n"
    rows = [
        f"| {', '.join(f'`{name}`' for name in (*one.opts, *one.secondary_opts))} | {_plain(one.help)} |\n"
        for one in command.params
        if one.param_type_name == "option" and not one.hidden and one.name != "help"
    ]
    return text + ("\n| option | |\n|---|---|\n" + "".join(rows) if rows else "")


def _metavar(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _plain(text: str | None) -> str:
    """Return a help text on one line, as a cell of a table takes it."""
    return " ".join(re.sub(r"\[/?[a-z]*\]", "", text or "").split()).replace("|", "\\|")


def troubleshooting(text: str) -> str:
    """Return a page with the table of causes filled in."""
    rows = "".join(f"| {rule.name} | {rule.what} | {rule.advice} |\n" for rule in RULES)
    return CAUSES.sub(lambda match: f"{match[1]}\n| cause | what is said | try |\n|---|---|---|\n{rows}\n{match[2]}", text)


def pages() -> dict[str, str]:
    """Return the text of every page that is made here, by its name within docs/."""
    fixing = "how-to/troubleshooting.md"
    return {"reference/cli.md": cli_page(), fixing: troubleshooting((DOCS / fixing).read_text(encoding="utf-8"))}


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
    sys.stdout.write("wrote reference/cli.md and how-to/troubleshooting.md\n")
