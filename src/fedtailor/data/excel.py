"""Tables of a spreadsheet: the first sheet of an Excel file, through openpyxl."""

import io
import zipfile
from typing import Any

from ..errors import DataError
from .cells import Unreadable, cell
from .packed import MOST_RATIO, ONCE_BYTES
from .table import Table, column_names


def excel_table(content: bytes, where: str) -> Table:
    """Return the table of the first sheet of a file; its first row that is not empty names the columns.

    Numbers are taken as they are stored, but for formats that fill up with zeros: 7 shown as 007 is 007. Of formulas the stored result is
    taken, and an error is no text. Rows below the last that holds a value are none.

    Raises:
        DataError: if openpyxl is missing, the file is of another kind, or the sheet is empty.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise DataError(
            f"{where} is an Excel file, which needs the package openpyxl; run `pip install 'fedtailor[excel]'`"
        ) from error
    try:
        _check_size(content, where)
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what a file says of its size need not be so
        title, others = sheet.title, [other.title for other in book.worksheets[1:]]
        rows = [[_value(one) for one in row] for row in sheet.iter_rows()]
        book.close()
    except DataError:
        raise
    except Exception as error:  # whatever zip, XML and openpyxl raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")
        raise DataError(
            f"{where} is not a readable Excel file ({reason}); it may be incomplete, locked by a password or of another kind: save it again as .xlsx, or as .csv"
        ) from error
    filled = [number for number, row in enumerate(rows) if any(value is not None for value in row)]
    if not filled:
        raise DataError(f"{where}: the sheet {title!r} is empty; the first row names the columns, each further row is an example")
    top, last = filled[0], filled[-1]
    header = [value.what if isinstance(value, Unreadable) else cell(value) for value in rows[top]]
    names = column_names(["" if value is None else value for value in header], where, f", row {top + 1},")
    number_of = {name: number for number, name in enumerate(names) if name}
    body = rows[top + 1 : last + 1]

    def column(name: str) -> list[object]:
        place = number_of[name]
        return [cell(row[place]) if place < len(row) else None for row in body]

    notes = [f"{where}: of its {1 + len(others)} sheets the first, {title!r}, is read"] if others else []
    return Table(
        where=where, names=list(number_of), size=len(body), column=column, place=lambda row: f"row {top + 2 + row}", notes=notes
    )


def _check_size(content: bytes, where: str) -> None:
    """Raise DataError if the file is a few bytes that would fill the memory."""
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        size = sum(part.file_size for part in parts.infolist())  # no more than this is unpacked
    if size > max(ONCE_BYTES, MOST_RATIO * len(content)):
        raise DataError(
            f"{where} unpacks to {size:,} bytes, more than {MOST_RATIO} times its size; save the table as .csv if that is meant"
        )


def _value(one: Any) -> object:
    """Return what a cell of the sheet holds; a formula that failed holds an error, which is no text."""
    value, shown = one.value, getattr(one, "number_format", None)
    if getattr(one, "data_type", None) == "e":
        return Unreadable(f"the error {value}")
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and isinstance(shown, str)
        and len(shown) > 1
        and set(shown) == {"0"}
    ):
        return f"{value:0{len(shown)}d}"
    return value
