"""What a site says when its engine loses the server: why, as far as a connection of its own finds out."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import SettingError
from ..kit.certificates import check_server

LOST = "cannot send to 'server'"  # in what the engine prints
AGAIN_S = 60.0  # a second loss within this time is no accident; the same line is said once in it
PROBE_AFTER_S = 5.0  # between two connections: the engine's words are those of a process that may be taken over


class LostServer:
    """Looks for the reason where the engine says that the server was lost; called with each line that it prints."""

    def __init__(
        self,
        kit: Path,
        about: dict[str, Any],
        say: Callable[[str], None],
        probe: Callable[[Path, dict[str, Any]], str] = check_server,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the site's kit, what it says of itself, and what is called with a line."""
        self._kit, self._about, self._say, self._probe, self._now = kit, about, say, probe, now
        self._last, self._probed = -AGAIN_S, -PROBE_AFTER_S
        self._why, self._said = "", -AGAIN_S

    def __call__(self, line: str) -> None:
        """Say why the server was lost, if it was."""
        moment = self._now()
        if LOST not in line or moment - self._probed < PROBE_AFTER_S:
            return
        again, self._last, self._probed = moment - self._last < AGAIN_S, moment, moment
        try:
            why = self._probe(self._kit, self._about)
        except SettingError as fault:  # revoked, ended, of another federation
            why = str(fault)
        if not why and not again:  # a moment's loss
            return
        why = why or self._two()
        if why != self._why or moment - self._said >= AGAIN_S:
            self._why, self._said = why, moment
            self._say(f"this site has lost the server: {why}; it keeps trying")

    def _two(self) -> str:
        about = self._about
        return (
            f"{about['server']}:{about['port']} answers and takes this kit's certificate, and connections end again and again. Is a copy of the kit used "
            f"elsewhere? Ask who runs the server; if so, fedtailor net revoke NET {about['kit']}, and fedtailor site request makes another key"
        )
