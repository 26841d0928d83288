"""A message as bytes: the length of the header, the header as canonical JSON, the tensors as safetensors.

Nothing is ever unpickled, and equal messages have equal bytes.
"""

import json

from safetensors.torch import load, save

from ..errors import OffManifest
from ..records import Message

LENGTH_BYTES = 4


def encode(message: Message) -> bytes:
    """Return the message as bytes; tensors must be on the CPU and contiguous.

    Raises:
        OffManifest: if a fact is not finite or not a number, a text, or a list of them.
    """
    try:
        header = json.dumps(
            {"facts": dict(message.facts), "kind": message.kind}, sort_keys=True, separators=(",", ":"), allow_nan=False
        ).encode()
    except (TypeError, ValueError) as error:
        raise OffManifest(f"message {message.kind!r} has a fact that cannot be written as JSON: {error}") from error
    tensors = {name: message.tensors[name] for name in sorted(message.tensors)}
    payload = save(tensors) if tensors else b""
    return len(header).to_bytes(LENGTH_BYTES, "big") + header + payload


def decode(data: bytes) -> Message:
    """Return the message that `encode` wrote.

    Raises:
        OffManifest: if the bytes are not such a message.
    """
    end = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "big")
    try:
        header = json.loads(data[LENGTH_BYTES:end])
        kind, facts = header["kind"], header["facts"]
        tensors = load(data[end:]) if len(data) > end else {}
    except Exception as error:  # safetensors raises its own exception class, and more
        raise OffManifest(f"{len(data)} bytes arrived that are not a message of ours ({type(error).__name__})") from error
    if not isinstance(kind, str) or not isinstance(facts, dict):
        raise OffManifest(
            f"the header of a message must hold a kind and facts; found {type(kind).__name__}, {type(facts).__name__}"
        )
    return Message(kind=kind, tensors=tensors, facts=facts)
