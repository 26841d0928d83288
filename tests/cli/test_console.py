"""What reaches the terminal: nothing that it would obey, and brackets as they are."""

import io
import re

import pytest
from rich.padding import Padding
from rich.text import Text

from fedtailor.cli import console
from fedtailor.printable import UNSAFE
from fedtailor.report.plain import plain_table
from fedtailor.report.run.samples import sample

ODD = [
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "a\rb",
    "\x9b2J",
    "\u202edlrow",
    "[/bold]",
    "[red]x",
    ":smile:",
    "\ud800",
    "日本語",
    "x\ty",
]


@pytest.fixture
def screen():
    """Return a console as a terminal has it, and what it wrote."""
    file = io.StringIO()
    made = console._console_class()(file=file, width=80, highlight=False, markup=False, emoji=False, force_terminal=True)
    return made, file


def signs(text: str) -> str:
    """Return what was written, without the colours that are our own."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("text", ODD)
def test_a_text_of_others_is_written_out_wherever_it_stands(screen, text):
    made, file = screen
    table = plain_table(text)
    table.add_column(text, justify="right")
    table.add_row(text, Text(text, style="green"))
    for part in (text, Text(text), Padding(table, 1), sample({"input": text, "before": text, "after": text})):
        made.print(part)
    assert not UNSAFE.search(signs(file.getvalue()))
    assert file.getvalue().encode()
    if text.isprintable():
        assert text in file.getvalue()


def test_columns_stand_under_each_other_whatever_is_in_them(screen):
    made, file = screen
    table = plain_table("client")
    table.add_column("n", justify="right")
    for text in ("\x1b[31m", "[/]", "plain"):
        table.add_row(text, "1")
    made.print(table)
    lines = [line.rstrip() for line in signs(file.getvalue()).splitlines()]
    assert len({len(line) for line in lines[2:]}) == 1


def test_a_complaint_is_one_line_that_ends(capsys):
    console.complain(f"tuning.kind is {'x' * 10_000}\x1b[2J,\nwhich is none")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert len(said) < 300
    assert "\\x1b[2J" in said


def test_values_of_a_line_of_ours_are_no_markup(capsys):
    console.say("wrote [bold]{place}[/]", place="/tmp/[red]{x}[/]")
    assert capsys.readouterr().out == "wrote /tmp/[red]{x}[/]\n"


def test_the_width_is_asked_for_by_columns(monkeypatch):
    for asked, width in (("80", 80), ("", 120), ("nonsense", 120), ("0", 120)):
        monkeypatch.setenv("COLUMNS", asked)
        assert console._width(stderr=False) == width
