"""Documents of a folder: text, Markdown, HTML, PDF and tables. A file that cannot be read is named and counted; the others are read.

A file is known by the SHA-256 of its content, so an index reads only what has changed.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..data.cells import Unreadable
from ..data.read import READERS, read_table
from ..data.table import Table
from ..errors import DataError
from ..storage import sha256_of
from .html_text import html_text
from .pdf_text import PdfFault, pdf_pages

PLAIN, MARKDOWN, HTML, PDF = {".txt", ".text"}, {".md", ".markdown"}, {".html", ".htm", ".xhtml"}, {".pdf"}
TABLES = {kind for kind in READERS if kind not in PLAIN}
KINDS = sorted(PLAIN | MARKDOWN | HTML | PDF | TABLES)
MOST_BYTES = 200_000_000  # of one file of text
BYTE_ORDERS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
TEXT, TITLE, ID = ("text", "abstract", "content", "body"), ("title", "name"), ("id", "doc_id", "document_id")


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document: a file, or a row of a table."""

    id: str  # one of its own within a client; of a row its column "id", else its number
    title: str
    text: str
    page_starts: Sequence[int] = ()  # the character at which each page begins; empty: the document has no pages

    def page_at(self, character: int) -> int:
        """Return the number of the page, from 1, that a character stands on; 0 where there are no pages."""
        return sum(start <= character for start in self.page_starts)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a file holds, and what of it could not be read."""

    documents: Sequence[Document]
    notes: Sequence[str] = ()  # a sentence for each thing that was left out


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file that documents come from."""

    name: str  # its path within the folder, with / on every system
    sha256: str  # of its content; empty: it could not be read, and `read` says why
    read: Callable[[], Reading]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns of a table hold what; None: the first of the usual names that is there."""

    text: str | None = None
    title: str | None = None
    id: str | None = None


@dataclass(kw_only=True)
class Skipped:
    """Files of a folder that are not read, by reason."""

    files: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Note a file."""
        self.files.setdefault(reason, []).append(name)


def folder_files(folder: Path, skipped: Skipped, columns: Columns | None = None) -> Iterator[SourceFile]:
    """Yield the files below a folder that may hold documents, in the order of their paths.

    Hidden files, links that lead out of the folder and files of other kinds are noted in `skipped`.

    Raises:
        DataError: if there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} is {'no folder' if folder.exists() else 'not there'}; give the folder that holds the documents"
        )
    root = folder.resolve()
    for path in sorted(_walk(root)):
        name = path.relative_to(root).as_posix()
        if any(part.startswith(".") for part in Path(name).parts):
            skipped.add("hidden", name)
        elif not path.resolve().is_relative_to(root):
            skipped.add("a link that leads out of the folder", name)
        elif not path.is_file():
            skipped.add("not a regular file", name)
        elif path.suffix.lower() not in KINDS:
            skipped.add(f"of a kind that is not read ({path.suffix or 'no ending'})", name)
        else:
            yield _source(path, name, columns or Columns())


def _walk(root: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(root, followlinks=False):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        yield from (Path(place) / name for name in [*files, *links])


def _source(path: Path, name: str, columns: Columns) -> SourceFile:
    try:
        sha256 = sha256_of(path)
    except OSError as fault:
        said = f"{name} cannot be read: {fault.strerror or fault}"
        return SourceFile(name=name, sha256="", read=lambda: Reading(documents=[], notes=[said]))
    return SourceFile(name=name, sha256=sha256, read=lambda: read_file(path, name, columns))


def read_file(path: Path, name: str, columns: Columns | None = None) -> Reading:
    """Return the documents of one file; a file that cannot be read gives none, and a note that says why.

    Raises:
        SettingError: if a package is missing that reads its kind.
    """
    kind = path.suffix.lower()
    try:
        if kind in TABLES:
            return _rows(read_table(path), name, columns or Columns())
        document = _pdf(path, name) if kind in PDF else _page(path, name)
    except (DataError, PdfFault, OSError) as fault:
        said = str(fault).replace(str(path), name)
        return Reading(documents=[], notes=[said if name in said else f"{name}: {said}"])
    if not document.text.strip():
        return Reading(documents=[], notes=[f"{name} holds no text"])
    return Reading(documents=[document])


def _page(path: Path, name: str) -> Document:
    text, title, kind = decoded(path, name), path.stem, path.suffix.lower()
    if kind in HTML:
        text, found = html_text(text)
        title = found or title
    elif kind in MARKDOWN:
        title = next((line.strip("# \t") for line in text.splitlines() if line.startswith("# ")), "") or title
    return Document(id=name, title=title, text=text)


def _pdf(path: Path, name: str) -> Document:
    title, pages = pdf_pages(path)
    starts, parts, at = [], [], 0
    for page in pages:
        starts.append(at)
        parts.append(page)
        at += len(page) + 1
    if not any(page.strip() for page in pages):
        raise PdfFault(
            f"{name} has {len(pages)} pages and no text on any: it may be a scan; run it through a program that recognizes text (OCR) first"
        )
    return Document(id=name, title=title or path.stem, text="\n".join(parts), page_starts=starts)


def decoded(path: Path, name: str) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with its mark.

    Raises:
        DataError: if it is too long, or no text in either.
    """
    if path.stat().st_size > MOST_BYTES:
        raise DataError(f"{name} has more than {MOST_BYTES:,} bytes, the most of a file of text; cut it into several")
    content = path.read_bytes()
    code = next((code for mark, code in BYTE_ORDERS.items() if content.startswith(mark)), "utf-8-sig")
    try:
        text = content.decode(code)
    except UnicodeDecodeError as fault:
        raise DataError(
            f"{name} is not UTF-8 text: byte {fault.start + 1} belongs to no character; save it again as UTF-8"
        ) from None
    if "\0" in text:
        raise DataError(f"{name} holds NUL characters, which no text has; is it of another kind?")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _rows(table: Table, name: str, columns: Columns) -> Reading:
    text = _column(table, columns.text, TEXT, name)
    if text is None:
        wanted = ", ".join(map(repr, TEXT))
        found = ", ".join(map(repr, table.names)) or "none"
        raise DataError(f"{name} has no column for the text (looked for {wanted}; it has {found}); name it: --text-column COLUMN")
    titles, ids = _column(table, columns.title, TITLE, name), _column(table, columns.id, ID, name)
    cells = table.column(text)
    texts = [_plain(value) for value in cells]
    title_of = [_plain(value) for value in table.column(titles)] if titles else [""] * table.size
    id_of = [_plain(value) for value in table.column(ids)] if ids else [""] * table.size
    documents, notes, seen = [], [], set()
    for row, (body, title, id) in enumerate(zip(texts, title_of, id_of, strict=True)):
        if not body.strip():
            notes.append(f"{name}, {table.place(row)} holds no text{_instead(cells[row])}")
            continue
        own = id or f"{name}#{row + 1}"
        if own in seen:
            notes.append(f"{name}, {table.place(row)} has the id {own!r} of an earlier row; it is kept as {own}~{row + 1}")
            own = f"{own}~{row + 1}"
        seen.add(own)
        documents.append(Document(id=own, title=title or Path(name).stem, text=body))
    return Reading(documents=documents, notes=notes)


def _column(table: Table, asked: str | None, usual: Sequence[str], name: str) -> str | None:
    if asked is None:
        return next((column for column in usual if column in table.names), None)
    if asked not in table.names:
        raise DataError(f"{name} has no column {asked!r}; it has {', '.join(map(repr, table.names))}")
    return asked


def _plain(value: object) -> str:
    """Return a cell as text; numbers and dates are texts in every table, and lists, mappings and bytes in none."""
    return value.replace("\0", "") if isinstance(value, str) else ""


def _instead(value: object) -> str:
    """Return what a cell holds that is no text."""
    what = "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else ""
    what = value.what if isinstance(value, Unreadable) else what
    return f", but {what}" if what else ""


def lines_about(skipped: Mapping[str, Sequence[str]], shown: int = 3) -> list[str]:
    """Return a sentence for each reason that files were skipped for, with their number and the first of them."""
    found = []
    for reason, names in skipped.items():
        more = f" and {len(names) - shown} more" if len(names) > shown else ""
        found.append(f"{len(names)} not read, {reason}: {', '.join(names[:shown])}{more}")
    return found
