"""Tables and texts of the terminal as HTML: what is shown in both places is put together once."""

import base64
import itertools
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ...errors import DataError
from ...printable import printable
from ...run_files import WHAT
from ...text_files import check_regular

PNG = b"\x89PNG\r\n\x1a\n"
MEANINGS = {"dim": "quiet", "bold": "strong", "green": "better", "red": "worse", "yellow": "warning"}  # of styles, as classes


def png_data(path: Path) -> str:
    """Return a PNG of a run as the address of a picture within a page.

    Raises:
        DataError: if it is no regular file, or no PNG.
    """
    check_regular(path, WHAT, error=DataError)
    content = path.read_bytes()
    if not content.startswith(PNG):
        raise DataError(f"{path} is no PNG; it was changed since the run wrote it: put back a copy, or delete it")
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def html_of(part: RenderableType, caption: str) -> str:
    """Return tables and lines as HTML; `caption` says what the tables show, read out by screen readers and hidden otherwise."""
    if isinstance(part, Group):
        return "".join(html_of(inner, caption) for inner in part.renderables)
    if isinstance(part, Padding):
        return html_of(part.renderable, caption)
    return table_html(part, caption) if isinstance(part, Table) else f"<p>{cell_html(part)}</p>"


def table_html(table: Table, caption: str) -> str:
    """Return a table as HTML; the first cell of a row is its header."""
    head = "".join(f'<th scope="col"{_side(column.justify)}>{cell_html(column.header)}</th>' for column in table.columns)
    body = "".join(
        f"<tr>{''.join(_cells(table, row))}</tr>" for row in zip(*(column.cells for column in table.columns), strict=True)
    )
    heading = f"<thead><tr>{head}</tr></thead>" if table.show_header else ""
    name = escape(printable(caption))
    scrolled = f'<div class="wide" tabindex="0" role="region" aria-label="{name}">'  # can be scrolled with the keyboard
    return f"{scrolled}<table><caption>{name}</caption>{heading}<tbody>{body}</tbody></table></div>"


def _cells(table: Table, row: Sequence[object]) -> Iterator[str]:
    for place, (column, cell) in enumerate(zip(table.columns, row, strict=True)):
        yield f"<{_tag(place)}{_side(column.justify)}>{cell_html(cell)}</{_tag(place).split()[0]}>"


def _tag(place: int) -> str:
    return "td" if place else 'th scope="row"'


def _side(justify: str) -> str:
    return ' class="number"' if justify == "right" else ""


def cell_html(cell: object) -> str:
    """Return what stands in a cell, its styles as classes; a text in plain brackets is no markup."""
    text = cell if isinstance(cell, Text) else Text(str(cell))
    whole = _classes(str(text.style))
    cuts = sorted({0, len(text.plain), *(edge for span in text.spans for edge in (span.start, span.end))})
    parts = []
    for start, end in itertools.pairwise(cuts):
        styles = " ".join(str(span.style) for span in text.spans if span.start <= start and span.end >= end)
        parts.append(_marked(text.plain[start:end], _classes(styles)))
    return _spanned("".join(parts), whole)


def _classes(styles: str) -> str:
    words = [] if "not " in styles else styles.split()
    return " ".join(MEANINGS[word] for word in words if word in MEANINGS)


def _marked(text: str, classes: str) -> str:
    return _spanned(escape(printable(text)).replace("\n", "<br>"), classes)


def _spanned(html: str, classes: str) -> str:
    return f'<span class="{classes}">{html}</span>' if classes and html else html
