"""The client's part of retrieval: an index of its own documents, made before the first question, and what answers messages from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...interfaces import Answer
from ...messages import Record, answer
from ...printable import json_text
from ...records import Example, Message
from ...retrieval.client import RetrievalClient
from ...retrieval.documents import Document, Reading, SourceFile
from ...retrieval.embedder import Embedder
from ...retrieval.index import Index, open_index
from ...retrieval.messages import ANSWERS
from ...retrieval.passages import Chunks
from ...retrieval.update import Updated, update_index
from ...retrieval.write import Progress
from ...storage import text_sha256

ROWS = "rows"  # the file that documents of a table are known by


@dataclass(frozen=True, kw_only=True)
class RetrievalHalf:
    """Answers each request from the client's own index."""

    inner: RetrievalClient

    def answer(self, message: Message) -> Answer:
        """Return the reply to one message."""
        handlers: Mapping[type[Record], Callable[[Any], Record]] = dict.fromkeys(ANSWERS, self.inner.answer)
        return answer(message, handlers)


def index_examples(
    examples: Sequence[Example],
    folder: Path,
    embedder: Embedder,
    chunks: Chunks,
    progress: Progress = lambda what, done, of: None,
) -> tuple[Index, Updated]:
    """Return the index of a client's documents, brought up to date in its folder, and what was done for it."""
    documents = [_document(example) for example in examples]
    content = json_text([[one.id, one.title, one.text] for one in documents])
    file = SourceFile(name=ROWS, sha256=text_sha256(content), read=lambda: Reading(documents=documents))
    done = update_index(folder, [file], embedder, chunks, progress)
    return open_index(folder), done


def _document(example: Example) -> Document:
    reported = {name: str(example.fields.get(name) or "") for name in ("id", "title", "text")}
    return Document(id=reported["id"] or example.id, title=reported["title"], text=reported["text"])
