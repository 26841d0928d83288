"""Exactly what may cross the border of a client, per kind of message."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from torch import Tensor

from ..errors import OffManifest
from ..records import Fact, Message
from ..tensors import Tensors, form

Direction = Literal["up", "down"]
Reveals = Literal["nothing", "work", "examples", "figures", "public-fit", "label-counts"]  # of a client's data; see `Policy`
Over = Literal["", "step", "train", "validation", "test", "public"]  # which examples a figure is a mean over
Trains = Literal["nothing", "round", "rounds", "once"]  # round: the one after its version; rounds: one for each listed rate


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Form of one tensor; a size given by name is at most what `Manifest.sizes` says."""

    dtype: str  # "float32", "bfloat16", ...
    shape: tuple[int | str, ...]
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
        _check_names(set(message.facts), set(spec.facts), required, f"{where}: facts")
        for name, value in message.facts.items():
            _check_fact(value, spec.facts[name], f"{where}: fact {name!r}")

    def to_dict(self) -> dict[str, object]:
        """Return the manifest as plain values, for manifest.json."""
        return asdict(self)

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


def _check_fact(value: Fact, spec: FactSpec, where: str) -> None:
    kinds: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "str": str}
    one = kinds[spec.type.removeprefix("list[").removesuffix("]")]
    values = value if isinstance(value, list) else [value]
    if isinstance(value, list) != spec.type.startswith("list") or not all(
        isinstance(v, one) and not isinstance(v, bool) for v in values
    ):
        raise OffManifest(f"{where} is {type(value).__name__}, the manifest has {spec.type}")
    if sum(len(v) for v in values if isinstance(v, str)) > spec.most_characters:
        raise OffManifest(f"{where} has more than the {spec.most_characters} characters that the manifest allows")
