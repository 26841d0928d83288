"""Tables fit the terminal and break no word: columns that find no room stand below."""

import io
import random

import pytest
from rich.console import Console
from rich.text import Text

from fedtailor.report.plain import plain_table

WORDS = "hospital-north client-00 accuracy 4.312 → 3.998 recommended, the job's validation loss 1,234 5 min 12 s".split()


def lines(table, width):
    file = io.StringIO()
    Console(file=file, width=width).print(table)
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("seed", range(30))
def test_no_word_is_broken_at_eighty_columns(seed):
    draw = random.Random(seed)
    table = plain_table("clients")
    columns = draw.randint(1, 14)
    for place in range(columns):
        table.add_column(
            " ".join(draw.choices(WORDS, k=draw.randint(1, 2))), justify=draw.choice(["left", "right"]) if place else "right"
        )
    rows = [[" ".join(draw.choices(WORDS, k=draw.randint(1, 3))) for _ in range(columns + 1)] for _ in range(3)]
    for row in rows:
        table.add_row(row[0], *(Text(cell) for cell in row[1:]))
    shown = lines(table, 80)
    assert max(map(len, shown)) <= 80
    assert not any("…" in line for line in shown)
    found = {word for line in shown for word in line.split()}
    assert {word for row in rows for cell in row for word in cell.split()} <= found


def test_numbers_stay_on_one_line_and_each_part_names_its_rows():
    table = plain_table("client")
    for title in ("loss", "accuracy", "time"):
        table.add_column(title, justify="right")
    table.add_row("north", "4.312 → 3.998", "0.123 → 0.345", "5 min 12 s")
    assert lines(table, 40) == [
        "client           loss       accuracy",
        "────────────────────────────────────",
        "north   4.312 → 3.998  0.123 → 0.345",
        "",
        "client        time",
        "──────────────────",
        "north   5 min 12 s",
    ]
    assert len(lines(table, 80)) == 3
