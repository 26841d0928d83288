"""Exactly what may cross the border of a client, per kind of message."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from ..errors import OffManifest
from ..records import Message
from ..tensors import LARGE_BYTES, Tensors, form
from .bounds import check_fact, check_values, fact_characters

Direction = Literal["up", "down"]
Reveals = Literal["nothing", "work", "examples", "figures", "public-fit", "label-counts"]  # of a client's data; see `Policy`
Over = Literal["", "step", "train", "validation", "test", "public"]  # which examples a figure is a mean over
Trains = Literal["nothing", "round", "rounds", "once"]  # round: the one after its version; rounds: one for each listed rate


MOST_VALUE = 1e6  # far beyond what honest weights, changes, activations and logits reach; sums of so many stay finite
HEAD_CHARACTERS = 64  # of a message's header beside its kind and facts
TENSOR_CHARACTERS = 160  # that one tensor takes in the header of its payload, beside its name


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Form of one tensor; a size given by name is at most what `Manifest.sizes` says."""

    dtype: str  # "float32", "bfloat16", ...
    shape: tuple[int | str, ...]
    most: float = MOST_VALUE  # of the absolute values, of floats
    optional: bool = False  # absent in some messages: a rule that trains factors in turn sends only those trained


@dataclass(frozen=True, kw_only=True)
class FactSpec:
    """Form of one fact, and why it is sent."""

    type: Literal["int", "float", "str", "list[int]", "list[float]", "list[str]"]
    purpose: str
    most_characters: int = 0  # of a text
    optional: bool = False
    least: float | None = None  # of a number, or of each in a list; None: no bound of its own but that of 64 bits
    most: float | None = None
    most_items: int = 2**16  # of a list
    fixed: bool = False  # the same in every message of a client in a run
    needs: tuple[str, ...] = ()  # facts of the same message that must be there with it, as it means nothing without them
    over: Over = ""  # step: those of one optimizer step
    reveals: Reveals | None = (
        None  # what it tells of the client's data; None, not declared: a whole number nothing, all else figures
    )

    @property
    def revealed(self) -> Reveals:
        """What a site's policy goes by: what nobody declared counts as a metric, so that forgetting it withholds it."""
        return self.reveals or ("nothing" if self.type == "int" else "figures")


@dataclass(frozen=True, kw_only=True)
class MessageSpec:
    """Form of one kind of message in one direction."""

    tensors: Mapping[str, TensorSpec] = field(default_factory=dict)
    facts: Mapping[str, FactSpec] = field(default_factory=dict)
    trains: Trains = "nothing"  # of a request: how it makes a client train, which a site counts against its bound of rounds
    answers: tuple[str, ...] = ()  # of a request: the kinds of message that may answer it; empty: its own kind

    def rounds_in(self, message: Message) -> int:
        """Return how many rounds of training a request asks for."""
        if self.trains == "rounds":
            return sum(len(value) for value in message.facts.values() if isinstance(value, list))
        return 0 if self.trains == "nothing" else 1


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

    def to_dict(self) -> dict[str, object]:
        """Return the manifest as plain values, for manifest.json."""
        return asdict(self)

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


def specs_of(tensors: Tensors, dtype: str | None = None) -> dict[str, TensorSpec]:
    """Return the specs that exactly these tensors fit, in their own dtype or in another."""
    return {name: TensorSpec(dtype=dtype or dtype_name(t), shape=tuple(t.shape)) for name, t in tensors.items()}


def dtype_name(tensor: Tensor) -> str:
    """Return "float32" for torch.float32, and so on."""
    return str(tensor.dtype).removeprefix("torch.")


def _check_names(found: set[str], listed: set[str], required: set[str], where: str) -> None:
    unknown, missing = sorted(found - listed), sorted(required - found)
    if unknown or missing:
        raise OffManifest(f"{where}: not listed: {unknown[:3]}, missing: {missing[:3]}")
