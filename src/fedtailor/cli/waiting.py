"""What a person sees while something else than a run is under way."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

SILENCE_S = 3.0  # at the start, before a line says what is done


class Silence:
    """Says what is under way once nothing was said for SILENCE_S; one line for each thing, and one if a class of the user's holds it up."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Take what prints a line."""
        self._say = say
        self._over = threading.Event()

    def begin(self, what: str) -> None:
        """Something is under way from now on; nothing is said of "" itself."""
        self.end()
        self._over = threading.Event()
        threading.Thread(target=self._watch, args=(what, self._over), daemon=True).start()

    def end(self) -> None:
        """Something was said, or it is over."""
        self._over.set()

    def _watch(self, what: str, over: threading.Event) -> None:
        said: set[str] = set()
        while not over.wait(SILENCE_S):
            theirs = _users_class()
            text = ": ".join(part for part in (what, theirs) if part)
            if text and text not in said and (theirs or not said):
                said.add(text)
                self._say(text)


def _users_class() -> str:
    """Return what a class of the user's is doing at this moment; "" if nothing, or if none was read yet."""
    own = sys.modules.get("fedtailor.job.own_classes")
    return "" if own is None else str(own.under_way())


@contextmanager
def waiting(console: "Console", what: str) -> Iterator[None]:
    """Say what is under way: at once on a terminal, elsewhere after SILENCE_S."""
    silence = Silence(lambda text: console.print(f"{text} …", style="dim", markup=False, soft_wrap=True))
    silence.begin("" if console.is_terminal else what)
    try:
        with console.status(what) if console.is_terminal else nullcontext():
            yield
    finally:
        silence.end()
