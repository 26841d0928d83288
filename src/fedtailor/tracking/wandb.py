"""Weights & Biases, which sends figures and settings to its service unless WANDB_MODE=offline; the project is WANDB_PROJECT."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class WandB:
    """Logs settings and figures of one W&B run, whose files are in the run's folder."""

    def begin(self, name: str, settings: Mapping[str, Any], folder: Path) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        project = os.environ.get("WANDB_PROJECT", "fedtailor")
        self._run = wandb.init(project=project, name=name, config=dict(settings), dir=str(folder))
        self._run.define_metric("*", step_metric="round")  # its own steps may not go back, as the last metrics do

    def log(self, figures: Mapping[str, float], round: int) -> None:
        self._run.log({**figures, "round": round})

    def end(self) -> None:
        self._run.finish()
