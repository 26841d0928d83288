"""A message too large to be in memory as bytes: the same bytes as `encode` gives, one tensor at a time.

The layout of safetensors is public and small: a length, a header in JSON padded with spaces to a multiple of 8, the values. A test holds
it against the library's own.
"""

import json
from collections.abc import Iterator

import torch
from torch import Tensor

from ..records import Message
from ..tensors import Lazy, Tensors, form
from .codec import DTYPES, decode, encode

ALIGNMENT = 8
NAMES = {dtype: name for name, dtype in DTYPES.items()}
PLACES = {dtype: place for place, dtype in enumerate(NAMES)}


class Stream:
    """An encoded message that reads its sender's tensors each time its bytes are asked for: they must hold still meanwhile."""

    def __init__(self, message: Message) -> None:
        """Take a message with tensors on the CPU, and write its head; no tensor is made for that.

        Raises:
            OffManifest: if a fact cannot be written.
        """
        self._tensors = message.tensors
        self._forms = {name: form(message.tensors, name) for name in _order(message.tensors)}
        self._facts = encode(Message(kind=message.kind, facts=message.facts))
        self._head = self._facts + _header(self._forms)

    @property
    def tensors(self) -> Tensors:
        """The tensors as their sender has them."""
        return self._tensors

    def __len__(self) -> int:
        return len(self._head) + sum(each.nbytes for each in self._forms.values())

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes in their order: the head, then each tensor's."""
        yield self._head
        for name in self._forms:
            yield bytes(_bytes(self._tensors[name]))

    def decode(self) -> Message:
        """Return the message as its receiver reads it; each tensor goes through its bytes when it is asked for."""
        header = decode(self._facts)
        return Message(kind=header.kind, tensors=Lazy(_through_bytes, self._tensors), facts=header.facts)


def _order(tensors: Tensors) -> list[str]:
    """Return the names in the order of safetensors: by dtype, then by name."""
    return sorted(tensors, key=lambda name: (-PLACES[form(tensors, name).dtype], name))


def _header(forms: Tensors) -> bytes:
    header, end = {}, 0
    for name, each in forms.items():
        start, end = end, end + each.nbytes
        header[name] = {"dtype": NAMES[each.dtype], "shape": list(each.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _through_bytes(tensor: Tensor) -> Tensor:
    """Return the tensor that its receiver reads from its bytes."""
    if tensor.is_meta or not tensor.numel():
        return torch.empty_like(tensor)
    return torch.frombuffer(bytearray(_bytes(tensor)), dtype=tensor.dtype).reshape(tensor.shape)
