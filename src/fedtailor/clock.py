"""What a chat template may write into a prompt of its own accord, fixed for a run: the moment, and chance.

Templates of Llama 3.1 and Granite write today's date, which transformers asks the machine for. A run that is resumed tomorrow, or
carried out in two time zones, would then train on other prompts. Jinja's `random` and `lipsum` draw from Python's own stream.
"""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from .errors import SettingError

ASKS = "strftime_now"  # how a template asks for the time
_RENDERING = threading.RLock()


def parse_moment(text: str) -> datetime:
    """Return a date, with or without a time, as ISO 8601 writes it; without a time it is midnight.

    Raises:
        SettingError: if it is none, or has a time zone: what a template writes has none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is not None:
        raise SettingError(f"clock is a date such as 2026-11-28, or one with a time such as 2026-11-28T09:30:00; got {text!r}")
    return moment


def today() -> str:
    """Return midnight of this day: all runs of one day then write the same prompts."""
    return datetime.now().replace(hour=0, minute=0, second=0, microsecond=0).isoformat()


@contextmanager
def fixed_clock(moment: datetime | None) -> Iterator[None]:
    """Let chat templates that are rendered in this block write `moment` as the present; None leaves the machine's clock."""
    if moment is None:
        yield
        return
    from transformers.utils import chat_template_utils  # its templates ask this module's `datetime` alone

    known: Any = chat_template_utils
    with _RENDERING:
        usual, known.datetime = known.datetime, _Fixed(moment)
        try:
            yield
        finally:
            known.datetime = usual


@contextmanager
def fixed_chance() -> Iterator[None]:
    """Let what is drawn from Python's own stream in this block be the same each time; the stream is left as it was."""
    with _RENDERING:
        before = random.getstate()
        random.seed(0)
        try:
            yield
        finally:
            random.setstate(before)


class _Fixed:
    """Stands for the class `datetime`: `now` is always the same moment."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self, *_: Any) -> datetime:
        return self._moment
