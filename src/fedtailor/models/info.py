"""What is known of a backbone without loading its weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import read_header, read_settings
from .locate import locate
from .pins import pins, template_in


@dataclass(frozen=True)
class BackboneInfo:
    """What `check` says of a backbone."""

    name: str
    folder: Path
    source: str  # packaged, folder, gguf or hub
    architecture: str
    parameters: int  # in the file; tied ones once
    layers: int | None
    width: int | None
    vocabulary: int | None
    context: int | None  # tokens
    has_chat_template: bool
    hashes: Mapping[str, str]
    license: str | None


def describe_backbone(name: str, base: Path) -> BackboneInfo:
    """Return what config and file headers say; weights are not loaded, though a GGUF file is converted at its first use.

    Raises:
        BackboneError: if the backbone cannot be found or its files cannot be read.
    """
    place = locate(name, base)
    config = read_settings(place.folder)
    inner = config.get("text_config")
    text = inner if isinstance(inner, Mapping) else config
    named = config.get("architectures")
    return BackboneInfo(
        name=name,
        folder=place.folder,
        source=place.source,
        architecture=str(named[0] if isinstance(named, list) and named else config.get("model_type", "unknown")),
        parameters=sum(count_weights(path) for path in sorted(place.folder.glob("*.safetensors"))),
        layers=_first(text, "num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        width=_first(text, "hidden_size", "n_embd", "dim", "d_model"),
        vocabulary=_first(text, "vocab_size"),
        context=_first(text, "max_position_embeddings", "n_positions", "n_ctx"),
        has_chat_template=bool(template_in(place.folder)),
        hashes=pins(place),
        license=place.license,
    )


def chat_template(tokenizer: Any) -> str | None:
    """Return the tokenizer's default chat template: one text, also where a model brings several."""
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, dict):
        template = template.get("default") or next(iter(template.values()), None)
    return template if isinstance(template, str) and template else None


def tool_template(tokenizer: Any) -> str | None:
    """Return the chat template for conversations with tools, where a model brings one beside its default."""
    template = getattr(tokenizer, "chat_template", None)
    found = template.get("tool_use") if isinstance(template, dict) else None
    return found if isinstance(found, str) and found else None


def count_weights(path: Path) -> int:
    """Return the number of values in a safetensors file, from its header."""
    return sum(math.prod(entry["shape"]) for entry in read_header(path).values())


def _first(config: Mapping[str, Any], *keys: str) -> int | None:
    return next((config[key] for key in keys if isinstance(config.get(key), int)), None)
