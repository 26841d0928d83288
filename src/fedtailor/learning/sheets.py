"""Sheets of pictures that a model makes, to be looked at."""

from pathlib import Path

import torch

from ..pictures import write_grid
from ..tasks.shard import Shard
from ..tasks.task import Draws
from .worker import Worker

SHOWN = 64  # pixels that a small picture is shown with, about


def writes_sheet(worker: Worker) -> bool:
    """Return whether the worker's model makes pictures, and the job wants a sheet of them."""
    return isinstance(worker.task, Draws) and worker.evaluation.samples.grid is not None


def write_sheet(worker: Worker, shard: Shard, path: Path) -> None:
    """Write pictures that the weights in place make as one PNG; sheets of one seed begin with the same noise, picture by picture.

    Args:
        shard: whose labels are asked for.
    """
    assert isinstance(worker.task, Draws)
    assert worker.evaluation.samples.grid is not None
    with torch.inference_mode(), worker.precision():
        pictures = worker.task.draw(worker, shard)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_grid(pictures, path, columns=worker.evaluation.samples.grid[1], scale=max(1, round(SHOWN / pictures.shape[1])))
