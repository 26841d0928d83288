"""Whole models as folders that transformers loads."""

import json
import shutil
from pathlib import Path
from typing import Any

from torch import nn


def save_whole(model: nn.Module, folder: Path) -> None:
    """Write a model folder that transformers loads, with the settings of generation and padding that the backbone's folder has.

    Ours (a pad token where there was none) are for training; transformers also refuses to write settings that were changed and
    contradict each other, as those of some published models do.

    Args:
        model: as `load_backbone` made it, trained or joined with an adapter.
    """
    whole: Any = model
    beside = getattr(whole, "files_beside", None)
    if beside is not None:  # of diffusers
        whole.save_pretrained(folder)
        for path in map(Path, beside):
            shutil.copyfile(path, folder / path.name)
        if whole.label_names:
            (folder / "labels.json").write_text(json.dumps(list(whole.label_names), ensure_ascii=False) + "\n", encoding="utf-8")
        return
    from transformers import GenerationConfig

    source, ours = Path(whole.name_or_path), getattr(whole, "generation_config", None)
    try:
        if ours is not None:
            whole.generation_config = GenerationConfig()
        whole.save_pretrained(folder)
    finally:
        if ours is not None:
            whole.generation_config = ours
    settings = folder / "generation_config.json"
    settings.unlink(missing_ok=True)
    if (source / settings.name).is_file():
        shutil.copyfile(source / settings.name, settings)
    if whole.can_generate() and (source / "config.json").is_file():  # a classifier finds a text's last token by our pad token
        _restore_padding(folder / "config.json", source / "config.json")


def _restore_padding(written: Path, original: Path) -> None:
    config, before = (json.loads(path.read_text(encoding="utf-8")) for path in (written, original))
    config.pop("pad_token_id", None)
    if "pad_token_id" in before:
        config["pad_token_id"] = before["pad_token_id"]
    written.write_text(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
