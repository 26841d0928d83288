"""Where a backbone's texts end: all that is taken from its generation_config.json."""

import json
from pathlib import Path
from typing import Any

from ..causes import cause_of
from ..errors import BackboneError

FILE = "generation_config.json"
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def generation_settings(folder: Path) -> Any:
    """Return the folder's generation_config as transformers reads it; None where there is no such file.

    A value that transformers refuses is of no matter here, since nothing but the end tokens is used: then these alone are returned.

    Raises:
        BackboneError: if the file holds no JSON mapping.
    """
    from transformers import GenerationConfig

    path = folder / FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        raise BackboneError(
            f"{cause_of(fault, f'{path} cannot be read')}, or remove the file: texts then end at the tokenizer's end token"
        ) from fault
    if not isinstance(content, dict):
        raise BackboneError(f"{path} holds no mapping; get it again from where the backbone came, or remove it")
    try:
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    except Exception:  # whatever its checks raise
        return GenerationConfig(**{name: content[name] for name in TOKENS if name in content})


def check_ends(model: Any, folder: Path) -> None:
    """Check that the end tokens of a model's generation_config are tokens that it has.

    Raises:
        BackboneError: naming the file and the value, if they are not.
    """
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    count = model.get_input_embeddings().weight.shape[0]
    for token in named if isinstance(named, list) else [] if named is None else [named]:
        if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < count:
            file = folder / (FILE if (folder / FILE).exists() else "config.json")
            raise BackboneError(
                f"{file}: eos_token_id is {named!r:.80}, it must be the number of a token, or a list of numbers, from 0 to {count - 1}; correct it, "
                "or remove that line"
            )
