"""The text of a PDF, page by page, by pypdf (extra `rag`)."""

import logging
from pathlib import Path
from typing import Any

from ..errors import SettingError

HEAD = 1024  # bytes in which a PDF says what it is
MOST_BYTES = 500_000_000


class PdfFault(Exception):
    """A PDF has no text that could be read; the sentence says why."""


def pdf_pages(path: Path) -> tuple[str, list[str]]:
    """Return the title of a PDF, empty if it has none, and the text of each page.

    Raises:
        PdfFault: if it is empty, incomplete, locked by a password, or of another kind.
        SettingError: if pypdf is not installed.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        raise PdfFault(f"{path} has 0 bytes; copy it again")
    if b"%PDF-" not in head:
        is_page = head.lstrip()[:1] == b"<"
        raise PdfFault(f"{path} is no PDF{', but looks like HTML: rename it to .html' if is_page else '; is it another file?'}")
    if path.stat().st_size > MOST_BYTES:
        raise PdfFault(f"{path} has more than {MOST_BYTES:,} bytes; cut it into several")
    pypdf = _pypdf()
    try:
        reader = pypdf.PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise PdfFault(f"{path} is locked by a password; save it without one")
        pages = [page.extract_text().replace("\0", "").strip() for page in reader.pages]
        title = str((reader.metadata or {}).get("/Title") or "").strip()
    except PdfFault:
        raise
    except Exception as fault:  # pypdf raises whatever a damaged file leads to
        raise PdfFault(
            f"{path} cannot be read as a PDF ({type(fault).__name__}: {str(fault)[:120]}): it may be incomplete; copy it again"
        ) from None
    return title, pages


def _pypdf() -> Any:
    try:
        import pypdf
    except ImportError:
        raise SettingError("PDF files need the package pypdf; run: pip install 'fedtailor[rag]'") from None
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of each small fault that it works round
    return pypdf
