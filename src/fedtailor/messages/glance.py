"""Fields that records of many protocols have: for what stands around a federation or a client's part, and knows no protocol."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..records import Message
from .facts import SCALE, asked
from .record import R, Record, fact, facts_of, layout_of
from .specs import FactSpec


@dataclass(frozen=True, kw_only=True)
class Versioned(Record):
    """A request of one round."""

    version: int | None = fact(asked("rounds behind the shared weights", optional=True))


@dataclass(frozen=True, kw_only=True)
class Named(Record):
    """A request of one moment, which files at a client may be named after."""

    name: str | None = fact(FactSpec(type="str", purpose="the moment that is asked about", most_characters=40, optional=True))


@dataclass(frozen=True, kw_only=True)
class Scaled(Record):
    """An answer with LoRA factors."""

    scale: Sequence[float] | None = fact(SCALE)


def glance(message: Message, form: type[R]) -> R:
    """Return what a message has of the fields of `form`, whatever record it is; all of them are optional."""
    return form(**{name: message.facts[name] for name in layout_of(form).facts if name in message.facts})


def with_fields(message: Message, fields: Record) -> Message:
    """Return a message with the facts of `fields` in the place of its own."""
    return replace(message, facts={**message.facts, **facts_of(fields)})
