"""The backbone that a recipe makes of public pictures: once for all its arms and seeds, kept in the user's cache."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..job import Job
from ..storage import sha256_of
from ..user_cache import cache_folder
from .pretrain import OnStep, Pretraining, pretrain

SEED = 0  # of the backbone, whatever the seeds of the recipe's cells


def backbone_folder(job: Job, how: Mapping[str, Any]) -> Path:
    """Return where the backbone of a recipe is kept: the name depends on how it is made, its task and the pictures that it is made of.

    Args:
        job: of the recipe; its training file, task and base count.
        how: the fields of `Pretraining`.
    """
    file = job.path(str(job.data.train))
    made_of = {
        "how": {item.name: getattr(Pretraining(**how), item.name) for item in fields(Pretraining)},
        "task": job.to_dict()["task"],
        "pictures": sha256_of(file) if file.is_file() else str(file),
    }
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()
    return cache_folder() / "backbones" / digest[:16]


def make_backbone(job: Job, how: Mapping[str, Any], *, on_step: OnStep | None = None, doing: Callable[[str], None]) -> bool:
    """Make the backbone of a recipe in the cache unless it is there, and return whether it was made.

    Raises:
        JobError: see `pretrain`.
    """
    folder = backbone_folder(job, how)
    if (folder / "pretrain.json").is_file():
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    plain = job.replace("seed", SEED).replace("data.limit", {})
    pretrain(plain, folder, Pretraining(**how), on_step=on_step, doing=doing)
    return True
