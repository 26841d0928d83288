"""The files of a backbone's folder, looked at before any library reads them: plain files, of bounded size, whole."""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..causes import cause_of, detail_of
from ..errors import BackboneError
from ..text_files import check_regular, read_text

READ = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "1_Pooling/config.json", "additional_chat_templates/*")
SETTINGS = (  # files of others may stand beside, such as lists of training data
    "config.json",
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.index.json",
    "1_Pooling/config.json",
)  # each a mapping
MOST_BYTES = 512 << 20  # of a file that is no weights; the largest tokenizer.json known has 40 MB
MOST_SETTINGS_BYTES = 64 << 20
LONGEST_HEADER_BYTES = 100_000_000  # safetensors' own limit
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8, "F4": 4, "F6_E2M3": 6,
    "F6_E3M2": 6, "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
WHAT = "a file of a backbone"
AGAIN = "get the file again from where the backbone came"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What the headers of a folder's weights say."""

    tensors: int
    values: int  # numbers in all tensors
    packed: bool  # several numbers may lie in one value


def read_settings(folder: Path) -> dict[str, Any]:
    """Return what the config.json of a folder says, after a look at all files that are read with it.

    Raises:
        BackboneError: naming a file that is none (a pipe, a device, a folder, a link to nothing), is too large, or holds no JSON mapping.
    """
    for pattern in READ:
        for path in sorted(folder.glob(pattern)):
            _check_plain(path)
    found = {path: read_mapping(path) for pattern in SETTINGS for path in sorted(folder.glob(pattern))}
    for path, content in found.items():
        if path.name.endswith(".index.json"):
            _check_index(path, content)
    return found[folder / "config.json"]


def read_mapping(path: Path) -> dict[str, Any]:
    """Return a JSON file's mapping; NaN and Infinity may stand in it, as in configs of some models.

    Raises:
        BackboneError: if it cannot be read, is no JSON or something else than a mapping.
    """
    text = read_text(path, WHAT, most_bytes=MOST_SETTINGS_BYTES, error=BackboneError, tip=AGAIN)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise BackboneError(f"{cause_of(fault, str(path)).sentence}; {AGAIN}") from fault
    if not isinstance(content, dict):
        raise BackboneError(f"{path} holds {_short(content)}, it must hold a mapping in braces; {AGAIN}")
    return content


def read_weights(folder: Path) -> Weights:
    """Return how much the weights of a folder hold, from their headers.

    Raises:
        BackboneError: if a file of weights is damaged or incomplete.
    """
    tensors = values = 0
    packed = False
    for path in sorted(folder.glob("*.safetensors")):
        header = read_header(path)
        tensors += len(header)
        values += sum(math.prod(entry["shape"]) for entry in header.values())
        packed |= any(entry["dtype"] in {"U8", "I8", "I32", "U32"} for entry in header.values())
    return Weights(tensors=tensors, values=values, packed=packed)


def read_header(path: Path) -> dict[str, Any]:
    """Return the dtype, shape and place of each tensor of a safetensors file: an 8-byte length, a JSON header and the data, no byte more.

    Raises:
        BackboneError: if it is damaged or incomplete, or something else.
    """
    _check_plain(path)
    try:
        whole = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(LONGEST_HEADER_BYTES, whole - 8):
                raise ValueError(f"a header of {length} bytes in a file of {whole}")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        end = max((_end_of(name, entry) for name, entry in header.items()), default=0)
    except (OSError, ValueError, RecursionError, struct.error, KeyError, TypeError, AttributeError) as fault:
        raise BackboneError(
            f"{path} is no whole safetensors file: its header cannot be read ({detail_of(fault)}); {AGAIN}"
        ) from fault
    if 8 + length + end != whole:
        raise BackboneError(
            f"{path} has {whole:,} bytes, its header speaks of {8 + length + end:,}: it is incomplete or damaged; {AGAIN}"
        )
    return dict(header)


def _end_of(name: str, entry: Mapping[str, Any]) -> int:
    """Return where a tensor ends in the data, after a check that it has as many bytes as dtype and shape say."""
    begin, end = entry["data_offsets"]
    shape = entry["shape"]
    if not all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in (*shape, begin, end)):
        raise ValueError(f"tensor {name!r:.80} has shape {shape!r:.80} at bytes {begin!r:.20} to {end!r:.20}")
    if entry["dtype"] not in BITS:
        raise ValueError(f"tensor {name!r:.80} is of dtype {entry['dtype']!r:.40}")
    if math.prod(shape) * BITS[entry["dtype"]] != (end - begin) * 8:
        raise ValueError(f"tensor {name!r:.80} of shape {shape!r:.80} and dtype {entry['dtype']} has {end - begin} bytes")
    return int(end)


def _check_plain(path: Path) -> None:
    """Raise BackboneError unless `path` is a plain file that is not larger than files of its kind are; opening a pipe would wait forever."""
    check_regular(path, WHAT, error=BackboneError, tip="put it there, or remove the link")
    size = path.stat().st_size
    if path.suffix != ".safetensors" and size > MOST_BYTES:
        raise BackboneError(f"{path} has {size:,} bytes, files of this kind have {MOST_BYTES:,} at most; {AGAIN}")


def _check_index(path: Path, content: Mapping[str, Any]) -> None:
    """Check that every shard that an index names is there, and in this folder."""
    shards = content.get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise BackboneError(f"{path} has no weight_map from tensors to files; {AGAIN}")
    for name in sorted(set(shards.values())):
        if Path(name).name != name:
            raise BackboneError(f"{path} names the file {name!r:.120}, which is not in its folder; {AGAIN}")
        if name.endswith(".safetensors") and not (path.parent / name).is_file():
            raise BackboneError(f"{path} names {name!r:.120}, which is missing in {path.parent}; get that file too")


def _short(content: object) -> str:
    said = repr(content)
    return said if len(said) <= 60 else f"{said[:60]}…"
