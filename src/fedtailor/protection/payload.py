"""A payload: the tensors of an update as one row of bytes.

First a bit for each tensor that there may be, in the order of names; then the tensors, each in rows of so many values that share a scale, as the
code's `Wire` writes them. Lengths follow from the forms in the manifest, so nothing in a payload says how long anything is but the counts of top-k.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import ClientError, OffManifest
from ..interfaces import Crossing
from ..messages import Call, TensorSpec
from ..messages.record import layout_of
from ..messages.specs import Coded
from ..messages.wires.few_bits import SignWire, TernaryWire
from ..messages.wires.table import TOKENS, BFloat16Wire, Int4Wire, Int8Wire, Wire
from ..messages.wires.top_values import COUNTS, KEPT, TopValuesWire
from ..records import Message
from ..tensors import Tensors

Code = Literal["bfloat16", "int8", "int4", "ternary", "sign", "top-k"]
WIRES: Mapping[Code, Wire] = {
    "bfloat16": BFloat16Wire(),
    "int8": Int8Wire(),
    "int4": Int4Wire(group=64),
    "ternary": TernaryWire(),
    "sign": SignWire(),
    "top-k": TopValuesWire(),
}
ROWS: Mapping[Code, int] = {"ternary": 320, "top-k": 255}  # values of a row, where they are not 256


@dataclass(frozen=True, kw_only=True)
class Payload:
    """Writes and reads payloads of one code."""

    code: Code
    share: float = 1.0  # of all values, the longest, that top-k sends

    @property
    def width(self) -> int:
        """Values of a row."""
        return ROWS.get(self.code, 256)

    def write(self, tensors: Tensors, specs: Mapping[str, TensorSpec], seed: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a payload [bytes], and the tensors that its reader will make of it.

        Args:
            tensors: float32, of some of the names in `specs`.
            specs: the forms that they had.
            seed: of a code that draws.
        """
        wire, made = self._wire_for(tensors), {}
        parts = [named(tensors, specs)]
        for name in sorted(specs):
            if name in tensors:
                packed = wire.pack(self._rows(tensors[name]), seed)
                parts += [_bytes(packed[inner]) for inner in wire.specs(self.width)]
                made[name] = self._values(wire.unpack(packed, self.width), specs[name])
        return torch.frombuffer(bytearray(b"".join(parts)), dtype=torch.uint8), made

    def read(self, payload: Tensor, specs: Mapping[str, TensorSpec]) -> dict[str, Tensor]:
        """Return the tensors in a payload, by name.

        Raises:
            OffManifest: if `write` could not have written it.
        """
        try:
            return dict(self._read(payload.numpy().tobytes(), specs))
        except ClientError:
            raise
        except Exception as fault:  # whatever damaged bytes make of numpy and torch
            raise OffManifest(f"a payload in {self.code} cannot be read ({type(fault).__name__})") from fault

    def size_bytes(self, spec: TensorSpec) -> int:
        """Return the bytes that a tensor of this form takes; with top-k, as expected."""
        rows = self._row_count(spec)
        sizes = {TOKENS: rows, KEPT: int(self.share * rows * self.width)}
        return sum(_length(form, sizes) for form in WIRES[self.code].specs(self.width).values())

    def _wire_for(self, tensors: Tensors) -> Wire:
        """Return the code; top-k takes its threshold from the values of all tensors together."""
        if self.code != "top-k":
            return WIRES[self.code]
        lengths = torch.cat([value.abs().reshape(-1) for value in tensors.values()])
        kept = max(1, round(self.share * lengths.numel()))
        return TopValuesWire(threshold=float(lengths.kthvalue(lengths.numel() - kept + 1).values))

    def _row_count(self, spec: TensorSpec) -> int:
        return -(-count(spec) // self.width)

    def _rows(self, values: Tensor) -> Tensor:
        """Return the values in rows; the last one is filled up with the first values, which moves its scale least."""
        flat, rows = values.reshape(-1), -(-values.numel() // self.width)
        times = -(-rows * self.width // max(1, flat.numel()))
        return flat.repeat(times)[: rows * self.width].reshape(rows, self.width)

    def _values(self, rows: Tensor, spec: TensorSpec) -> Tensor:
        """Return a tensor of this form from its rows."""
        return rows.reshape(-1)[: count(spec)].reshape(_shape(spec, {})).to(getattr(torch, spec.dtype))

    def _read(self, data: bytes, specs: Mapping[str, TensorSpec]) -> Iterator[tuple[str, Tensor]]:
        names, begin = names_in(data, specs)
        for name in names:
            packed, begin = self._take(data, begin, rows=self._row_count(specs[name]))
            yield name, self._values(WIRES[self.code].unpack(packed, self.width), specs[name])
        if begin != len(data):
            raise OffManifest(f"a payload has {len(data) - begin} bytes too many")

    def _take(self, data: bytes, begin: int, *, rows: int) -> tuple[dict[str, Tensor], int]:
        """Return the tensors of one table that begin there, and where they end."""
        sizes, found = {TOKENS: rows}, {}
        for name, spec in WIRES[self.code].specs(self.width).items():
            end = begin + _length(spec, sizes)
            if end > len(data):
                raise OffManifest("a payload ends before its last tensor")
            empty = torch.empty(_shape(spec, sizes), dtype=getattr(torch, spec.dtype))
            found[name] = (
                torch.frombuffer(bytearray(data[begin:end]), dtype=empty.dtype).reshape(empty.shape) if end > begin else empty
            )
            begin = end
            if name == COUNTS:
                sizes[KEPT] = int(found[name].sum(dtype=torch.int64))
        return found, begin


def named(tensors: Collection[str], specs: Mapping[str, TensorSpec]) -> bytes:
    """Return a bit for each name in `specs`, in their order: whether it is there."""
    return np.packbits([name in tensors for name in sorted(specs)]).tobytes()


def names_in(data: bytes, specs: Mapping[str, TensorSpec]) -> tuple[list[str], int]:
    """Return the names of the tensors in a payload, and where their values begin.

    Raises:
        OffManifest: if it does not begin with a bit for each tensor, or lacks one that must be there.
    """
    begin = -(-len(specs) // 8)
    bits = np.unpackbits(np.frombuffer(data[:begin], dtype=np.uint8))
    if len(bits) < len(specs) or bits[len(specs) :].any():
        raise OffManifest("a payload does not begin with a bit for each tensor")
    names = [name for name, bit in zip(sorted(specs), bits, strict=False) if bit]
    missing = [name for name, spec in specs.items() if not spec.optional and name not in names]
    if missing:
        raise OffManifest(f"a payload lacks the tensor {missing[0]!r}")
    return names, begin


def as_payload(
    call: Call, payload: tuple[str, str], *, size: Callable[[TensorSpec], int], most: Callable[[TensorSpec], int]
) -> Call:
    """Return a call with one payload in the place of the tensors of each update.

    Args:
        payload: the name of its tensor, and that of its most bytes.
        size: gives the bytes of a tensor in it, as expected.
        most: gives the most bytes of one.
    """
    groups = [group for form in call.answers for group in layout_of(form).groups.items()]
    for field in [name for name, group in groups if group.reveals == "update" and call.forms.get(name)]:
        forms, (tensor, bound) = call.forms[field], payload
        coded = {name: Coded(spec=spec, size_bytes=size(spec)) for name, spec in forms.items()}
        largest = -(-len(forms) // 8) + sum(map(most, forms.values()))
        spec = TensorSpec(dtype="uint8", shape=(bound,), coded=coded)
        call = replace(call, forms={**call.forms, field: {tensor: spec}}, sizes={**call.sizes, bound: largest})
    return call


def updates_in(crossing: Crossing) -> dict[str, TensorSpec]:
    """Return the forms of the tensors that reveal an update."""
    return {name: spec for name, spec in crossing.spec.tensors.items() if spec.reveals == "update"}


def without(message: Message, names: Collection[str], found: Tensors) -> Message:
    """Return a message with other tensors in the place of some."""
    return replace(message, tensors={**{name: value for name, value in message.tensors.items() if name not in names}, **found})


def _shape(spec: TensorSpec, sizes: Mapping[str, int]) -> Sequence[int]:
    return [sizes[size] if isinstance(size, str) else size for size in spec.shape]


def count(spec: TensorSpec) -> int:
    """Return the number of values of a tensor of this form."""
    return int(np.prod(_shape(spec, {}), dtype=np.int64))


def _length(spec: TensorSpec, sizes: Mapping[str, int]) -> int:
    return int(np.prod(_shape(spec, sizes), dtype=np.int64)) * int(getattr(torch, spec.dtype).itemsize)


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
