"""Trackio, in the user's own cache on this machine; the project is TRACKIO_PROJECT."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Trackio:
    """Logs settings and figures of one Trackio run."""

    def begin(self, name: str, settings: Mapping[str, Any], folder: Path) -> None:
        import trackio

        self._trackio = trackio
        trackio.init(project=os.environ.get("TRACKIO_PROJECT", "fedtailor"), name=name, config=dict(settings))

    def log(self, figures: Mapping[str, float], round: int) -> None:
        self._trackio.log(dict(figures), step=round)

    def end(self) -> None:
        self._trackio.finish()
