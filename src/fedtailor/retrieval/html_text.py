"""The text of an HTML page: what a reader sees, a line for each block."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser

UNSEEN = {"script", "style", "noscript", "template", "svg", "head"}
BLOCKS = set(
    "address article aside blockquote br dd div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr li main nav "
    "ol p pre section table td th tr ul".split()
)
SPACES, BLANK_LINES = re.compile(r"[ \t\f\r\n\u00a0]+"), re.compile(r"\s*\n\s*")


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.title = ""
        self._unseen: list[str] = []  # elements that are open and not shown
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag == "body":
            self._unseen.clear()  # a head that was never closed ends here
        if tag == "title":
            self._in_title = not self.title
        elif tag in UNSEEN:
            self._unseen.append(tag)
        elif tag in BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag in self._unseen:
            while self._unseen.pop() != tag:
                pass
        elif tag in BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._unseen:
            self.parts.append(SPACES.sub(" ", data))


def html_text(page: str) -> tuple[str, str]:
    """Return the text that an HTML page shows, and its title; markup that is broken is read as far as it goes."""
    parser = _Text()
    parser.feed(page)
    parser.close()
    return BLANK_LINES.sub("\n", "".join(parser.parts)).strip(), SPACES.sub(" ", parser.title).strip()
