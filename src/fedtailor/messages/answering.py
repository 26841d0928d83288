"""From a message to the reply of whoever handles its record."""

from collections.abc import Callable, Generator, Mapping
from typing import Any

from ..records import Message
from .record import Record, form_of, read, write


def answer(message: Message, handlers: Mapping[type[Record], Callable[[Any], Any]]) -> Generator[Any, Any, Message]:
    """Return the reply of the handler whose record a message is; what a handler asks for on its way (a training) is asked for here.

    Raises:
        OffManifest: if there is none.
    """
    form = form_of(message, handlers)
    found = handlers[form](read(message, form))
    return write((yield from found) if isinstance(found, Generator) else found)


def result_of(found: Any) -> Generator[Any, Any, Any]:
    """Return what a call came to: what it returned, or, of a generator, what that returns when all it asks for was given."""
    return (yield from found) if isinstance(found, Generator) else found
