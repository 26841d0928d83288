"""The client's part of the phases of a job."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..interfaces import Answer, Answering, Phase
from ..learning.client import Client
from ..messages import Record, answer
from ..records import Message


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers the requests of phases; all others go to the protocol's part."""

    half: Answering
    phases: Sequence[Phase]
    client: Client

    def answer(self, message: Message) -> Answer:
        """Return the reply to one message."""
        found: dict[type[Record], Callable[[Any], Any]] = {}
        for phase in self.phases:
            found |= phase.handlers(self.client)
        if message.kind in {form.kind for form in found}:
            return answer(message, found)
        return self.half.answer(message)
