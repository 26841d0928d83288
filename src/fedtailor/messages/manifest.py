"""Exactly what may cross the border of a client, per kind of message."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import OffManifest
from ..records import Message
from ..tensors import LARGE_BYTES, form
from .bounds import check_fact, check_values, fact_characters
from .specs import MessageSpec, TensorSpec, dtype_name

Direction = Literal["up", "down"]

HEAD_CHARACTERS = 64  # of a message's header beside its kind and facts
TENSOR_CHARACTERS = 160  # that one tensor takes in the header of its payload, beside its name


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All messages that a protocol may send: what is not listed does not pass."""

    up: Mapping[str, MessageSpec]  # from a client, by kind
    down: Mapping[str, MessageSpec]  # to a client
    sizes: Mapping[str, int] = field(default_factory=dict)  # upper bound of each named size

    def check(self, message: Message, direction: Direction) -> None:
        """Raise OffManifest, naming the first difference, unless the message is as listed."""
        listed = self.up if direction == "up" else self.down
        spec = listed.get(message.kind)
        if spec is None:
            raise OffManifest(f"messages of kind {message.kind!r} may not go {direction}; listed are {sorted(listed)}")
        where = f"message {message.kind!r} {direction}"
        needed = {name for name, tensor in spec.tensors.items() if not tensor.optional}
        _check_names(set(message.tensors), set(spec.tensors), needed, f"{where}: tensors")
        for name in message.tensors:
            self._check_tensor(form(message.tensors, name), spec.tensors[name], f"{where}: tensor {name!r}")
        required = {name for name, fact in spec.facts.items() if not fact.optional}
        required |= {needed for name in message.facts if name in spec.facts for needed in spec.facts[name].needs}
        _check_names(set(message.facts), set(spec.facts), required, f"{where}: facts")
        for name, value in message.facts.items():
            check_fact(value, spec.facts[name], f"{where}: fact {name!r}")

    def check_values(self, message: Message, direction: Direction) -> None:
        """Raise NotFinite or OffManifest, naming the tensor, unless all values of a checked message keep to their bounds."""
        specs = (self.up if direction == "up" else self.down)[message.kind].tensors
        for name, tensor in message.tensors.items():
            check_values(tensor, specs[name].most, f"message {message.kind!r} {direction}: tensor {name!r}")

    def answers_to(self, kind: str) -> tuple[str, ...]:
        """Return the kinds of message that may answer a request of this kind."""
        return self.down[kind].answers or (kind,)

    def most_bytes(self, direction: Direction, kinds: Sequence[str] | None = None) -> tuple[int, int]:
        """Return how many bytes the header of a message of these kinds, or of any, and the whole of it, take at most.

        What goes up in more than LARGE_BYTES comes as a stream; from a server it may be in bytes, as it goes through a pipe at a site.
        """
        listed = self.up if direction == "up" else self.down
        found = [self._bytes[direction, kind] for kind in (listed if kinds is None else kinds) if kind in listed]
        return max((head for head, _ in found), default=0), max((whole for _, whole in found), default=0)

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as plain values, for manifest.json; a tensor that reveals nothing of a client's data does not say so."""
        values = asdict(self)
        for spec in [*values["up"].values(), *values["down"].values()]:
            for tensor in spec["tensors"].values():
                if tensor["reveals"] == "nothing":
                    del tensor["reveals"]
                if not tensor["coded"]:
                    del tensor["coded"]
                for inner in tensor.get("coded", {}).values():
                    del inner["spec"]["reveals"], inner["spec"]["coded"]
        return values

    @cached_property
    def _bytes(self) -> dict[tuple[Direction, str], tuple[int, int]]:
        """Return the most bytes of the header of each kind of message, and of the whole of it."""
        both: dict[Direction, Mapping[str, MessageSpec]] = {"up": self.up, "down": self.down}
        return {
            (direction, kind): self._most(kind, spec, LARGE_BYTES if direction == "up" else None)
            for direction, listed in both.items()
            for kind, spec in listed.items()
        }

    def _most(self, kind: str, spec: MessageSpec, most_values: int | None) -> tuple[int, int]:
        head = HEAD_CHARACTERS + len(kind) + sum(fact_characters(name, fact) for name, fact in spec.facts.items())
        table = HEAD_CHARACTERS + sum(6 * len(name) + TENSOR_CHARACTERS for name in spec.tensors)
        values = sum(self._most_bytes(tensor) for tensor in spec.tensors.values())
        return head, head + table + (values if most_values is None else min(values, most_values))

    def _most_bytes(self, spec: TensorSpec) -> int:
        sizes = [self.sizes[size] if isinstance(size, str) else size for size in spec.shape]
        return math.prod(sizes) * int(getattr(torch, spec.dtype).itemsize)

    def _check_tensor(self, tensor: Tensor, spec: TensorSpec, where: str) -> None:
        dtype = dtype_name(tensor)
        if dtype != spec.dtype:
            raise OffManifest(f"{where} is {dtype}, the manifest has {spec.dtype}")
        fits = len(tensor.shape) == len(spec.shape) and all(
            size <= self.sizes[want] if isinstance(want, str) else size == want
            for size, want in zip(tensor.shape, spec.shape, strict=True)
        )
        if not fits:
            raise OffManifest(f"{where} has shape {tuple(tensor.shape)}, the manifest has {spec.shape}; were ranks changed?")


def _check_names(found: set[str], listed: set[str], required: set[str], where: str) -> None:
    unknown, missing = sorted(found - listed), sorted(required - found)
    if unknown or missing:
        raise OffManifest(f"{where}: not listed: {unknown[:3]}, missing: {missing[:3]}")
