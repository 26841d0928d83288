"""Models and their files as their own libraries read them: what somebody without fedtailor gets."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from .kinds import kind_of
from .quiet import quiet_transformers

TOKENIZER_FILES = (  # what tokenizers and their chat templates are read from
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model", "*.tiktoken", "normalizer.json",
    "chat_template*", "additional_chat_templates/*.jinja",
)  # fmt: skip


def load_plain(folder: Path, *, kind: str, labels: Sequence[str] = (), **changes: Any) -> nn.Module:
    """Return the model of a folder as its own library loads it, in float32 on the CPU, in evaluation mode.

    Args:
        kind: a name of `models.kinds`.
        labels: of a classifier whose folder may have no head, or one for other classes, which an adapter brings along.
        changes: fields of its config.json to be read otherwise.
    """
    with quiet_transformers():
        return kind_of(kind).plain(folder, labels, changes).eval()


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the files of a tokenizer, with all its chat templates, as they are."""
    for path in sorted({path for pattern in TOKENIZER_FILES for path in source.glob(pattern) if path.is_file()}):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
