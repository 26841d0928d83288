"""MLflow: to where MLFLOW_TRACKING_URI says, else below the working folder."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class MLflow:
    """Logs settings as parameters and figures as metrics of one MLflow run."""

    def begin(self, name: str, settings: Mapping[str, Any], folder: Path) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow

        self._mlflow = mlflow
        mlflow.start_run(run_name=name)
        mlflow.log_params({key: str(value)[:500] for key, value in settings.items()})

    def log(self, figures: Mapping[str, float], round: int) -> None:
        self._mlflow.log_metrics(dict(figures), step=round)

    def end(self) -> None:
        self._mlflow.end_run()
