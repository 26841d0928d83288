"""Arithmetic on named tensors. Nothing here changes its arguments unless its name ends in an underscore."""

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from .errors import NotFinite, ShapeMismatch

Tensors: TypeAlias = Mapping[str, Tensor]


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


def cast(tensors: Tensors, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return `tensors` in another dtype; those that have it already are passed on, not copied."""
    return map_tensors(lambda t: t.to(dtype), tensors)


def clone(tensors: Tensors) -> dict[str, Tensor]:
    """Return contiguous copies on the CPU that share no memory with `tensors`."""
    return map_tensors(lambda t: t.detach().to("cpu", copy=True).contiguous(), tensors)


def flatten(tensors: Tensors) -> Tensor:
    """Return all values in one float32 vector, in the order of the names."""
    parts = [tensors[name].detach().reshape(-1).float() for name in sorted(tensors)]
    return torch.cat(parts) if parts else torch.zeros(0)


def norm(tensors: Tensors) -> float:
    """Return the Euclidean norm over all values, summed in float64."""
    return math.sqrt(sum(float(t.detach().double().square().sum()) for t in tensors.values()))


def count(tensors: Tensors) -> int:
    """Return the number of values."""
    return sum(t.numel() for t in tensors.values())


def size_bytes(tensors: Tensors) -> int:
    """Return the bytes that the values take in memory."""
    return sum(t.numel() * t.element_size() for t in tensors.values())


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
        if not bool(torch.isfinite(value).all()):
            raise NotFinite(f"{where}: tensor {name!r} holds NaN or infinity; try a smaller learning rate or gradient clipping")
