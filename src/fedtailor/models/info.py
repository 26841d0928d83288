"""What is known of a backbone without loading its weights."""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BackboneError
from ..storage import text_sha256
from .cache import file_sha256
from .locate import Location, locate

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "special_tokens_map.json")
LONGEST_HEADER_BYTES = 100_000_000  # safetensors' own limit


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
    config = _read_json(place.folder / "config.json")
    text = config.get("text_config", config)
    return BackboneInfo(
        name=name,
        folder=place.folder,
        source=place.source,
        architecture=(config.get("architectures") or [config.get("model_type", "unknown")])[0],
        parameters=sum(count_weights(path) for path in sorted(place.folder.glob("*.safetensors"))),
        layers=_first(text, "num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        width=_first(text, "hidden_size", "n_embd", "dim", "d_model"),
        vocabulary=_first(text, "vocab_size"),
        context=_first(text, "max_position_embeddings", "n_positions", "n_ctx"),
        has_chat_template=bool(_template_in(place.folder)),
        hashes=pins(place),
        license=place.license,
    )


def pins(place: Location) -> dict[str, str]:
    """Return the SHA-256 of weights, tokenizer and chat template, and of the GGUF file they came from if they did.

    One file has its own hash. Of several, the hash is that of their `name hash` lines in the order of names. A tokenizer
    or chat template that is not there has the hash of the empty text.
    """
    weights = sorted(place.folder.glob("*.safetensors"))
    tokenizer = [place.folder / name for name in TOKENIZER_FILES if (place.folder / name).is_file()]
    found = {
        "weights": _files_sha256(weights),
        "tokenizer": _files_sha256(tokenizer),
        "chat_template": text_sha256(_template_in(place.folder)),
    }
    if place.origin is not None:
        found["origin"] = file_sha256(place.origin)
    return found


def chat_template(tokenizer: Any) -> str | None:
    """Return the tokenizer's default chat template: one text, also where a model brings several."""
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, dict):
        template = template.get("default") or next(iter(template.values()), None)
    return template or None


def _files_sha256(paths: list[Path]) -> str:
    if len(paths) == 1:
        return file_sha256(paths[0])
    return text_sha256("".join(f"{path.name} {file_sha256(path)}\n" for path in paths))


def _template_in(folder: Path) -> str:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    config = folder / "tokenizer_config.json"
    template = _read_json(config).get("chat_template") if config.is_file() else None
    if isinstance(template, list):  # several, each with a name
        template = next((entry["template"] for entry in template if entry.get("name") == "default"), None)
    return template or ""


def count_weights(path: Path) -> int:
    """Return the number of values in a safetensors file: an 8-byte length, then a JSON header with shapes, come first."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > LONGEST_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(file.read(length))
        return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError) as fault:
        raise BackboneError(f"{path} is no whole safetensors file ({fault}); was it downloaded or written whole?") from fault


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise BackboneError(f"{path} cannot be read ({fault}); is the model folder whole?") from fault
    if not isinstance(content, dict):
        raise BackboneError(f"{path} holds no mapping; is the model folder whole?")
    return content


def _first(config: Mapping[str, Any], *keys: str) -> int | None:
    return next((int(config[key]) for key in keys if config.get(key) is not None), None)
