"""What recipes make of the data in their folder before they run: joined tables, and backbones of another size or past."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import SettingError
from ..models.cache import whole_folder
from ..storage import writing
from ..user_cache import cache_folder, file_state
from . import prepared_tables as tables

PREFIX = "prepared:"  # of a path in a recipe: prepared:abstracts/train.parquet
NAMED = re.compile(rf"{PREFIX}([\w-]+)")
VERSION = 1  # of what is made


def with_prepared(settings: Any, data: Path) -> Any:
    """Return the settings of a job with paths in the place of what is to be prepared; `prepare` makes it.

    Args:
        data: the folder of all data sets.

    Raises:
        SettingError: if nothing of that name can be prepared.
    """
    if isinstance(settings, Mapping):
        return {name: with_prepared(value, data) for name, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [with_prepared(value, data) for value in settings]
    if not isinstance(settings, str) or not settings.startswith(PREFIX):
        return settings
    name, _, file = settings.removeprefix(PREFIX).partition("/")
    folder = place_of(name, data)
    return str(folder / file if file else folder)


def names_in(settings: Any) -> list[str]:
    """Return what settings name that is to be prepared, each once; texts such as those of grids are searched too."""
    return sorted(set(NAMED.findall(json.dumps(settings, default=str))))


def place_of(name: str, data: Path) -> Path:
    """Return the folder of what is prepared under a name, which changes with what it is made of; it may not be there yet.

    Args:
        name: one of MAKERS, behind which a number may stand, such as blocks-8.
    """
    stem, _ = _parted(name)
    states = [file_state(data / source) for source in MAKERS[stem][0]]
    mark = hashlib.sha256(json.dumps([VERSION, name, *states]).encode()).hexdigest()[:16]
    return cache_folder() / "recipes" / f"{name}-{mark}"


def prepare(name: str, data: Path) -> Path:
    """Make what is prepared under a name, if it is not there yet, and return its folder.

    Raises:
        SettingError: if there is nothing of that name, or what it is made of is missing.
        StorageError: if it cannot be written.
    """
    stem, count = _parted(name)
    sources, make = MAKERS[stem]
    missing = next((data / source for source in sources if not (data / source).is_file()), None)
    if missing is not None:
        raise SettingError(
            f"there is no {missing}, which {PREFIX}{name} is made of; --data names the folder that holds {sources[0]}"
        )
    folder = place_of(name, data)
    if folder.is_dir():
        return folder
    with writing(folder), whole_folder(folder) as fresh:
        make(fresh, data, count)
    return folder


def _parted(name: str) -> tuple[str, int]:
    """Return a maker's name and the number behind it, 0 without one."""
    stem, _, number = name.rpartition("-")
    stem, count = (stem, int(number)) if number.isdigit() else (name, 0)
    if stem not in MAKERS:
        raise SettingError(f"a recipe names {PREFIX}{name}, and there is no such preparation; there are {', '.join(MAKERS)}")
    return stem, count


def _blocks(folder: Path, data: Path, count: int) -> None:
    """Write the first blocks of SmolLM2-135M, with its embedding, last norm and head, as a backbone of its own."""
    from safetensors.torch import load_file, save_file

    from ..models.locate import locate

    source = locate("smollm2-135m", Path()).folder
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if not 0 < count <= config["num_hidden_layers"]:
        raise SettingError(f"smollm2-135m has {config['num_hidden_layers']} blocks; got {count}")
    weights = load_file(source / "model.safetensors")
    kept = {name: value for name, value in weights.items() if _block_of(name) < count}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": count}), encoding="utf-8")
    for file in source.iterdir():
        if file.is_file() and file.name != "config.json" and file.suffix in (".json", ".txt", ".jinja", ".model"):
            shutil.copy(file, folder / file.name)


def _block_of(name: str) -> int:
    """Return the number of the block that a weight belongs to; -1 if to none."""
    _, found, rest = name.partition(".layers.")
    return int(rest.partition(".")[0]) if found else -1


def _tuned(folder: Path, data: Path, count: int) -> None:
    """Write SmolLM2-135M after every weight of it was tuned on so many lines of the Penn Treebank, once."""
    from ..job import Job
    from ..running import run

    job = Job.from_dict(
        {
            "name": "tuned-on-ptb",
            "backbone": "smollm2-135m",
            "task": {"kind": "language-modeling", "block": 64},
            "data": {"train": "ptb/train.parquet", "limit": {"train": count}},
            "clients": {"count": 1, "validation_share": 0.0, "test_share": 0.0},
            "tuning": {"kind": "full"},
            "protocol": {"kind": "averaging", "local": {"epochs": 1, "batch_size": 8, "learning_rate": 5e-5}},
            "stop": {"rounds": 1, "patience": None, "keep": "last"},
        },
        base=data,
    )
    made = run(job, out=folder / "run").folder
    for file in (made / "model").iterdir():
        shutil.move(file, folder / file.name)
    shutil.rmtree(made)


def _cifar_unet(folder: Path, data: Path, count: int) -> None:
    """Write a denoiser that was trained for so many steps on the first five classes of CIFAR-10."""
    from ..job import Job
    from .pretrain import Pretraining, pretrain

    labels = json.loads((data / "cifar10" / "labels.json").read_text(encoding="utf-8"))
    job = Job.from_dict(
        {
            "name": "cifar-unet",
            "backbone": "unet-tiny",
            "task": {"kind": "image-generation", "size": 32, "labels": labels},
            "data": {"train": "cifar10/train.parquet"},
            "threads": 1,
            "precision": "float32",
        },
        base=data,
    )
    pretrain(job, folder, Pretraining(shape="unet-tiny", only=labels[:5], steps=count))


Maker = Callable[[Path, Path, int], None]
MAKERS: Mapping[str, tuple[tuple[str, ...], Maker]] = {  # by name: what each is made of, below the folder of the data, and how
    "abstracts": (("pubmedqa/questions.parquet", "pubmedqa/passages.parquet"), tables.abstracts),
    "tasks": (
        (
            "e2e/train.parquet",
            "banking77/train.parquet",
            "banking77/labels.json",
            "pubmedqa/questions.parquet",
            "pubmedqa/passages.parquet",
        ),
        tables.tasks,
    ),
    "blocks": ((), _blocks),
    "conclusions": (("pubmedqa/questions.parquet", "pubmedqa/passages.parquet"), tables.conclusions),
    "questions": (("rag/questions.parquet", "rag/passages.parquet"), tables.questions),
    "cifar-unet": (("cifar10/train.parquet", "cifar10/labels.json"), _cifar_unet),
    "tuned-on-ptb": (("ptb/train.parquet",), _tuned),
}
