"""What a run has trained for retrieval, named by the run: an adapter on the question's side of the embedder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import SettingError
from ..models import choose_device, load_backbone
from ..tuning import attach_saved
from ..yaml_text import read_yaml_file
from .embedder import Embedder, embedder_of

TASK, ADAPTER = "retrieval", "adapter"


def query_embedder(run: Path, backbone: str, base: Path) -> Embedder:
    """Return the embedder of questions that a run has trained; passages are embedded as before.

    Args:
        run: the folder of a run of task: retrieval.
        backbone: the name of the embedder, as jobs have it.
        base: that its path is relative to.

    Raises:
        SettingError: if it is no such run, or its adapter does not fit the embedder.
    """
    job = read_yaml_file(run / "job.yaml", "the job of a run", tip="protocol.query names the folder of a run of task: retrieval")
    task: Any = job.get("task") if isinstance(job, Mapping) else None
    if not isinstance(task, Mapping) or task.get("kind") != TASK:
        found = task.get("kind") if isinstance(task, Mapping) else None
        raise SettingError(
            f"protocol.query: {run} is a run of task: {found}, which trains no questions; name one of task: retrieval"
        )
    if not (run / ADAPTER).is_dir():
        raise SettingError(f"protocol.query: {run} has no {ADAPTER} yet; wait for its end, or resume it")
    loaded = load_backbone(backbone, kind="embedder", device=choose_device("auto"), base=base, seed=0, trust_times=True)
    found = embedder_of(loaded.model, loaded.processor)
    attach_saved(loaded.model, run / ADAPTER).eval()  # PEFT puts its layers into the model itself
    return found
