"""Arithmetic on named tensors. Nothing here changes its arguments unless its name ends in an underscore."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from .errors import NotFinite, ShapeMismatch

Tensors: TypeAlias = Mapping[str, Tensor]
LARGE_BYTES = 64 * 2**20  # sets of tensors past this (of full tuning) are sent, checked and added tensor by tensor
CHUNK = 2**20  # values of one tensor that are looked at at once, where that takes copies


class Lazy(Mapping[str, Tensor]):
    """Tensors that are made of others each time they are asked for, so that one of them is in memory at a time.

    What they are made of must hold still as long as anybody asks; before it moves, `settle` makes them all and keeps them.
    """

    def __init__(self, function: Callable[..., Tensor], *sets: Tensors, names: Iterable[str] | None = None) -> None:
        """Take what makes a tensor of one from each of `sets`, and the names that there are; None: those of the first set."""
        self._function, self._sets = function, sets
        self._names = dict.fromkeys(sets[0] if names is None else names)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        return self._function(*(tensors[name] for tensors in self._sets))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def form(self, name: str) -> Tensor:
        """Return a tensor of the same dtype and shape without values, on torch's meta device."""
        return self._function(*(form(tensors, name).detach().to("meta") for tensors in self._sets))

    def settle(self) -> None:
        """Make all tensors now, and keep them."""
        self._sets = ({name: self[name] for name in self},)
        self._function = torch.Tensor.detach


def form(tensors: Tensors, name: str) -> Tensor:
    """Return a tensor of dtype and shape of the named one, for these alone: a lazy one is not made for it."""
    return tensors.form(name) if isinstance(tensors, Lazy) else tensors[name]


def map_tensors(function: Callable[..., Tensor], first: Tensors, *others: Tensors) -> dict[str, Tensor]:
    """Apply `function` to the tensors of each name; the names of all arguments must be the same."""
    for other in others:
        check_same_names(first, other)
    return {name: function(first[name], *(other[name] for other in others)) for name in first}


def zeros_like(tensors: Tensors) -> dict[str, Tensor]:
    """Return float32 zeros, named and shaped as `tensors`."""
    return map_tensors(lambda t: torch.zeros_like(t, dtype=torch.float32), tensors)


def add(left: Tensors, right: Tensors) -> dict[str, Tensor]:
    """Return left + right."""
    return map_tensors(torch.add, left, right)


def subtract(left: Tensors, right: Tensors) -> dict[str, Tensor]:
    """Return left - right."""
    return map_tensors(torch.sub, left, right)


def scale(tensors: Tensors, factor: float) -> dict[str, Tensor]:
    """Return factor * tensors."""
    return map_tensors(lambda t: t * factor, tensors)


def add_scaled_(total: Tensors, tensors: Tensors, factor: float) -> None:
    """Add factor * tensors to `total` in place; `total` must belong to the caller alone."""
    check_same_names(total, tensors)
    for name, value in tensors.items():
        total[name].add_(value.to(total[name].dtype), alpha=factor)


def cast(tensors: Tensors, dtype: torch.dtype) -> Tensors:
    """Return `tensors` in another dtype; those that have it already are passed on, not copied."""
    return Lazy(lambda t: t.to(dtype), tensors) if isinstance(tensors, Lazy) else map_tensors(lambda t: t.to(dtype), tensors)


def clone(tensors: Tensors) -> dict[str, Tensor]:
    """Return contiguous copies on the CPU that share no memory with `tensors`."""
    return map_tensors(lambda t: t.detach().to("cpu", copy=True).contiguous(), tensors)


def norm(tensors: Tensors) -> float:
    """Return the Euclidean norm over all values, summed in float64."""
    parts = (part for t in tensors.values() for part in pieces(t))
    return math.sqrt(sum(float(part.double().square().sum()) for part in parts))


def count(tensors: Tensors) -> int:
    """Return the number of values."""
    return sum(t.numel() for t in tensors.values())


def size_bytes(tensors: Tensors) -> int:
    """Return the bytes that the values take in memory."""
    return sum(form(tensors, name).nbytes for name in tensors)


def is_large(tensors: Tensors) -> bool:
    """Return whether a copy of all is to be avoided."""
    return size_bytes(tensors) > LARGE_BYTES


def pick(tensors: Tensors, wanted: Callable[[str], bool]) -> Tensors:
    """Return the tensors whose names are wanted; lazy ones stay so."""
    names = [name for name in tensors if wanted(name)]
    if isinstance(tensors, Lazy):
        return Lazy(torch.Tensor.detach, tensors, names=names)
    return {name: tensors[name] for name in names}


def check_same_names(left: Tensors, right: Tensors) -> None:
    """Raise ShapeMismatch if the two sets differ in names."""
    if left.keys() == right.keys():
        return
    missing, extra = sorted(left.keys() - right.keys()), sorted(right.keys() - left.keys())
    raise ShapeMismatch(
        f"two sets of tensors must have the same names; {len(missing)} are missing (first: {missing[:1]}) "
        f"and {len(extra)} are unknown (first: {extra[:1]}); were they made with the same tuning?"
    )


def check_finite(tensors: Tensors, where: str) -> None:
    """Raise NotFinite, naming the tensor, if any value is NaN or infinite."""
    for name, value in tensors.items():
        if not all(bool(torch.isfinite(part).all()) for part in pieces(value)):  # isfinite makes copies
            raise NotFinite(f"{where}: tensor {name!r} holds NaN or infinity; try a smaller learning rate or gradient clipping")


def pieces(tensor: Tensor) -> Sequence[Tensor]:
    """Return the tensor, or views of a large one, CHUNK values each."""
    flat = tensor.detach()
    return (flat,) if flat.numel() <= CHUNK else torch.split(flat.reshape(-1), CHUNK)
