"""Tables in text, a row a line: CSV with its quotes, TSV without any."""

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from ..errors import DataError
from .table import Table, column_names

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
EXCELS = re.compile(
    r"sep=(?P<sign>[,;\t|])\r?\n"
)  # a first line that says to Excel what separates the cells, and which it does not show
RULE = re.compile(r"\s*(:?-{2,}:?)?\s*")  # a cell of the line below the header of a Markdown table
LONGEST_HEADER = 1_000_000  # characters that are looked at to find the delimiter


@dataclass(frozen=True, kw_only=True)
class Records:
    """The rows of a text, the header among them, and where each begins."""

    rows: Sequence[Sequence[str]]
    numbers: Sequence[int]  # the row as a spreadsheet shows it, from 1; blank lines count
    lines: Sequence[int]  # the line as an editor shows it, from 1

    def place(self, number: int) -> str:
        """Return what errors call a row of data, numbered from 0."""
        row, line = self.numbers[number + 1], self.lines[number + 1]
        return f"row {row}" if row == line else f"row {row} (line {line})"


def comma_separated(text: str, where: str) -> Table:
    """Return the table of a CSV text, whose cells are separated by commas, semicolons, tabs or vertical bars.

    Raises:
        DataError: if it is not well formed; it names the line.
    """
    said = EXCELS.match(text)
    delimiter = said["sign"] if said else _delimiter(text, where)
    records = _records(text[said.end() :], where, delimiter, first=2) if said else _records(text, where, delimiter)
    if delimiter == "|" and len(records.rows) > 1 and all(RULE.fullmatch(cell) for cell in records.rows[1]):
        raise DataError(
            f"{where} is a table of Markdown, with a line of dashes below its header; save it as CSV, without bars and dashes around its cells"
        )
    notes = () if delimiter == "," else (f"{where}: its cells are separated by {DELIMITERS[delimiter]}",)
    return _table(records, where, notes, delimiter)


def tab_separated(text: str, where: str) -> Table:
    """Return the table of a TSV text: tabs part cells, lines part rows, and a quotation mark is a letter like any other.

    Raises:
        DataError: if rows differ in length; it names the line.
    """
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    kept = [number for number, line in enumerate(lines) if line]
    numbers = [number + 1 for number in kept]
    records = Records(rows=[lines[number].split("\t") for number in kept], numbers=numbers, lines=numbers)
    return _table(records, where, (), "\t")


def _table(records: Records, where: str, notes: Sequence[str], delimiter: str) -> Table:
    if not records.rows:
        raise DataError(f"{where} is empty; the first line names the columns, each further line is a row")
    header, *rows = records.rows
    names = column_names(header, where, f", line {records.lines[0]},")
    _check_widths(records, where, delimiter)
    number_of = {name: number for number, name in enumerate(names) if name}  # a column without a name can be read by nobody

    def column(name: str) -> list[object]:
        place = number_of[name]
        return [row[place] or None for row in rows]

    return Table(where=where, names=list(number_of), size=len(rows), column=column, place=records.place, notes=notes)


def _check_widths(records: Records, where: str, delimiter: str) -> None:
    """Raise DataError if rows have more or fewer cells than the header; it names the first five."""
    width = len(records.rows[0])
    wrong = [number for number, row in enumerate(records.rows) if len(row) != width]
    if not wrong:
        return
    some = ", ".join(f"line {records.lines[number]} has {len(records.rows[number])}" for number in wrong[:5])
    most, count = Counter(len(records.rows[number]) for number in wrong).most_common(1)[0]
    advice = (
        f"every row has {most}: correct the header"
        if count == len(records.rows) - 1
        else 'a cell that holds the delimiter, a quotation mark or a line break stands in double quotes in CSV ("like, this"), and cannot '
        "stand in TSV: write the file again, or as JSON Lines"
    )
    raise DataError(
        f"{where}: the header has {width} cells, separated by {DELIMITERS[delimiter]}, and {len(wrong):,} of {len(records.rows) - 1:,} rows "
        f"have another number: {some}{', ...' if len(wrong) > 5 else ''}; {advice}"
    )


def _delimiter(text: str, where: str) -> str:
    """Return what separates the cells: of those that part the header and fit all rows, what parts it most often, the comma if several do."""
    widths = {sign: _header_width(text, sign) for sign in DELIMITERS}
    possible = [sign for sign in DELIMITERS if widths[sign] > 1]
    fitting = [sign for sign in possible if len(possible) > 1 and _fits(text, where, sign, widths[sign])]
    return max(fitting or possible or [","], key=lambda sign: widths[sign])


def _fits(text: str, where: str, delimiter: str, width: int) -> bool:
    """Return whether every row has `width` cells."""
    try:
        return all(len(row) == width for row in _records(text, where, delimiter).rows)
    except DataError:
        return False


def _header_width(text: str, delimiter: str) -> int:
    head = io.StringIO(text[:LONGEST_HEADER], newline="")
    with _long_cells():
        try:
            return len(next((row for row in csv.reader(head, delimiter=delimiter, strict=True) if row), []))
        except csv.Error:
            return 0


def _records(text: str, where: str, delimiter: str, *, first: int = 1) -> Records:
    """Return the rows of a text whose first line is the `first` of its file."""
    rows: list[list[str]] = []
    numbers: list[int] = []
    lines: list[int] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begin = first
    with _long_cells():
        try:
            for number, row in enumerate(reader, start=1):
                if row:
                    rows.append(row)
                    numbers.append(number)
                    lines.append(begin)
                begin = reader.line_num + first
        except csv.Error as error:
            raise DataError(_broken(text, where, begin, str(error), first)) from error
    return Records(rows=rows, numbers=numbers, lines=lines)


def _broken(text: str, where: str, line: int, reason: str, first: int) -> str:
    begun = next(islice(io.StringIO(text, newline=""), line - first, None), "").strip()
    shown = repr(begun if len(begun) <= 60 else begun[:57] + "...")
    if "unexpected end" in reason:
        what = f"a quotation mark opens in the row that begins in line {line} ({shown}) and is never closed"
    else:
        what = f"the row that begins in line {line} ({shown}) has something behind a closing quotation mark"
    return (
        f"{where}: {what}; a cell with quotation marks, delimiters or line breaks stands in double quotes, and marks in it are doubled: "
        '"he said ""yes""". Where quotation marks are letters, save it as .tsv'
    )


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let the csv module read cells of any length; its bound belongs to the whole process, and is put back."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
