"""The client's part of retrieval, as messages come to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...interfaces import Answer
from ...messages import Record, answer
from ...records import Message
from ...retrieval.client import RetrievalClient
from ...retrieval.messages import ANSWERS


@dataclass(frozen=True, kw_only=True)
class RetrievalHalf:
    """Answers each request from the client's own index."""

    inner: RetrievalClient

    def answer(self, message: Message) -> Answer:
        """Return the reply to one message."""
        handlers: Mapping[type[Record], Callable[[Any], Record]] = dict.fromkeys(ANSWERS, self.inner.answer)
        return answer(message, handlers)
