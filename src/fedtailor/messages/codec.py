"""A message as bytes: the length of the header, the header as canonical JSON, the tensors as safetensors.

Nothing is ever unpickled, and equal messages have equal bytes: bytes that `encode` would not write are no message.
"""

import json
from collections.abc import Sequence
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from ..errors import OffManifest
from ..records import Message

LENGTH_BYTES, TABLE_BYTES = 4, 8  # of the length of the header, and of that of the table of tensors
MOST_HEAD_BYTES = 2**24  # of a header whose manifest says nothing narrower
DTYPES = {  # names in safetensors, in its order: tensors of the last of these stand first in a file
    **{"BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I32": torch.int32, "F32": torch.float32, "F64": torch.float64, "I64": torch.int64},
}


def encode(message: Message) -> bytes:
    """Return the message as bytes; tensors must be on the CPU and contiguous.

    Raises:
        OffManifest: if a fact is not finite or not a number, a text, or a list of them.
    """
    header = _header(message)
    tensors = {name: message.tensors[name] for name in sorted(message.tensors)}
    payload = save(tensors) if tensors else b""
    return len(header).to_bytes(LENGTH_BYTES, "big") + header + payload


def decode(data: bytes) -> Message:
    """Return the message that `encode` wrote.

    Raises:
        OffManifest: if the bytes are not such a message.
    """
    head, begin = read_head(data)
    return Message(kind=head.kind, tensors=read_tensors(data, begin), facts=head.facts)


def read_head(data: bytes, most_bytes: int = MOST_HEAD_BYTES) -> tuple[Message, int]:
    """Return kind and facts of an encoded message, and where its tensors begin.

    Args:
        most_bytes: that the header may take; a longer one is not read.

    Raises:
        OffManifest: if the bytes begin otherwise.
    """
    begin = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "big")
    if begin > len(data) or begin - LENGTH_BYTES > most_bytes:
        raise OffManifest(
            f"{len(data):,} bytes arrived that name a header of {begin - LENGTH_BYTES:,}; at most {most_bytes:,} are read"
        )
    try:
        header = json.loads(data[LENGTH_BYTES:begin])
        kind, facts = header["kind"], header["facts"]
    except Exception as error:  # nesting and digits without end raise exceptions of their own
        raise OffManifest(f"{len(data):,} bytes arrived that are not a message of ours ({type(error).__name__})") from error
    if not isinstance(kind, str) or not isinstance(facts, dict):
        raise OffManifest(
            f"the header of a message must hold a kind and facts; found {type(kind).__name__}, {type(facts).__name__}"
        )
    message = Message(kind=kind, facts=facts)
    if _header(message) != data[LENGTH_BYTES:begin]:  # a key twice, NaN, other keys
        raise OffManifest("the header of a message is not written as ours are: is a key there twice?")
    return message, begin


def read_forms(data: bytes, begin: int, most_bytes: int) -> dict[str, Tensor]:
    """Return tensors of the dtypes and shapes that stand behind `begin`, without their values, on torch's meta device.

    Args:
        most_bytes: that the table of tensors may take.

    Raises:
        OffManifest: if there is no such table.
    """
    if begin == len(data):
        return {}
    size = int.from_bytes(data[begin : begin + TABLE_BYTES], "little")
    if size > min(most_bytes, len(data) - begin - TABLE_BYTES):
        raise OffManifest(
            f"{len(data):,} bytes arrived that name a table of tensors of {size:,}; at most {most_bytes:,} are read"
        )
    try:
        table = json.loads(data[begin + TABLE_BYTES : begin + TABLE_BYTES + size], object_pairs_hook=_once_each)
        return {name: _form(each["dtype"], each["shape"]) for name, each in table.items()}
    except Exception as error:
        raise OffManifest(f"the table of tensors in a message cannot be read ({type(error).__name__})") from error


def read_tensors(data: bytes, begin: int) -> dict[str, Tensor]:
    """Return the tensors that stand behind `begin`.

    Raises:
        OffManifest: if they cannot be read.
    """
    try:
        return load(data[begin:]) if len(data) > begin else {}
    except Exception as error:  # safetensors raises its own exception class, and more
        raise OffManifest(f"{len(data):,} bytes arrived that are not a message of ours ({type(error).__name__})") from error


def _header(message: Message) -> bytes:
    parts = {"facts": dict(message.facts), "kind": message.kind}
    try:
        return json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise OffManifest(f"message {message.kind!r} has a fact that cannot be written as JSON: {error}") from error


def _form(dtype: str, shape: Sequence[int]) -> Tensor:
    return torch.empty(shape, dtype=DTYPES[dtype], device="meta")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found
