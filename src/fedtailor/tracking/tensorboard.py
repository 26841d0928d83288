"""TensorBoard's event files, in the folder `tensorboard` of the run, by tensorboardX: nothing leaves the machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TensorBoard:
    """Writes a scalar for each figure."""

    def begin(self, name: str, settings: Mapping[str, Any], folder: Path) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def log(self, figures: Mapping[str, float], round: int) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, round)
        self._writer.flush()

    def end(self) -> None:
        self._writer.close()
