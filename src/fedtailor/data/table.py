"""Tables: what a file or an object in memory holds, column by column, converted when somebody asks for it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import DataError
from .cells import cell

Row = Mapping[str, object]
FROM_0, FROM_1 = "rows counted from 0", "rows counted from 1"


def numbered_from_0(row: int) -> str:
    """Return what a row in memory is called."""
    return f"row {row}"


def numbered_from_1(row: int) -> str:
    """Return what a row of a file is called that has rows, but no lines."""
    return f"row {row + 1}"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under named columns. A column that nobody asks for is never converted, and of Parquet not even read."""

    where: str  # the file, or what errors call it
    names: Sequence[str]  # of the columns, all different, without white space around them
    size: int  # rows
    column: Callable[[str], list[object]]  # the cells of one column, see cells.py
    place: Callable[[int], str]  # a row, numbered from 0 -> "row 7 (line 12)", as a spreadsheet or an editor shows it
    counting: str = ""  # where rows are numbered that nobody shows numbers of: how
    ids: Sequence[str] = ()  # of the examples, where they have names of their own
    notes: Sequence[str] = ()  # what somebody who gave the file should know


def column_names(names: Iterable[object], where: str, line: str = "") -> list[str]:
    """Return the names of columns as texts, without white space around them.

    Raises:
        DataError: if two are equal, or one holds a character that no text has.
    """
    found = [str(name).strip() for name in names]
    repeated = [name for name, count in Counter(found).items() if count > 1 and name]
    if repeated:
        raise DataError(
            f"{where}{line} has several columns of the name {', '.join(map(repr, repeated))}; rename them, so that each name comes once"
        )
    for name in found:
        if "\0" in name:
            raise DataError(
                f"{where}{line} has a NUL character in a column's name; the file is of another kind, or is not saved as UTF-8"
            )
        if any("\ud800" <= sign <= "\udfff" for sign in name):
            raise DataError(f"{where}{line} has half of a character in the name of column {name!a}; write the file again")
    return found


def from_rows(
    rows: Sequence[Row], where: str, place: Callable[[int], str], *, counting: str = "", ids: Sequence[str] = ()
) -> Table:
    """Return the table of mappings from column to value; a column that a row lacks is missing there."""
    keys = dict.fromkeys(key for row in rows for key in row)
    spaced = [key for key in keys if not isinstance(key, str) or key != key.strip()]
    if spaced:
        rows = [
            dict(zip(column_names(row, where, f", {place(number)},"), row.values(), strict=True))
            for number, row in enumerate(rows)
        ]
        keys = dict.fromkeys(key for row in rows for key in row)
    return Table(
        where=where,
        names=column_names(keys, where),
        size=len(rows),
        column=lambda name: [cell(row.get(name)) for row in rows],
        place=place,
        counting=counting,
        ids=ids,
    )
