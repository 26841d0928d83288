"""Updates as whole numbers that add up modulo 2^32 or 2^16, and back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import SettingError, TooLarge
from ...tensors import Tensors

Words: TypeAlias = NDArray[np.uint32] | NDArray[np.uint16]
Bits: TypeAlias = Literal[16, 32]
UNSIGNED: Mapping[Bits, Any] = {16: np.uint16, 32: np.uint32}
SIGNED: Mapping[Bits, Any] = {16: np.int16, 32: np.int32}


@dataclass(frozen=True, kw_only=True)
class FixedPoint:
    """Values up to `most` in steps so small that the sum of `clients` of them fits into a word.

    With 32 bits values are rounded to the nearest step; with 16, where steps are coarse, up or down by chance, so that their mean is right.
    """

    most: float
    clients: int
    bits: Bits = 32

    @property
    def step(self) -> float:
        """A power of two: n (2 most / step + 1) <= 2^32; with 16 bits n (2 most / step + 3), as rounding may go up by one at either end.

        Raises:
            SettingError: if the sum of so many clients does not fit into the words.
        """
        free = 2**self.bits / self.clients - (1 if self.bits == 32 else 3)
        if free < 2:
            raise SettingError(f"the sum of {self.clients} clients does not fit into words of {self.bits} bits; choose bits: 32")
        return float(2.0 ** math.ceil(math.log2(2 * self.most / free)))

    def lengthens(self, values: int) -> float:
        """Return by how much rounding may lengthen a vector of so many values."""
        return self.step * math.sqrt(values) * (0.5 if self.bits == 32 else 1.0)

    def encode(self, tensors: Tensors, factor: float, *, seed: int = 0) -> Words:
        """Return all values times a factor of at most 1, in the order of names, each rounded to a step.

        Args:
            seed: of the chance by which 16 bits are rounded.

        Raises:
            TooLarge: if a value exceeds the bound: it would run over in the sum, where nobody could see it.
        """
        parts = [(tensors[name].detach().double().numpy().reshape(-1) * factor) for name in sorted(tensors)]
        values = np.concatenate(parts) if parts else np.zeros(0)
        if values.size and not np.abs(values).max() <= self.most:
            raise TooLarge(
                f"the update holds {np.abs(values).max():g}, and protection.most of secure-aggregation is {self.most:g}; raise it, or try a smaller learning rate"
            )
        steps = values / self.step
        whole = np.rint(steps) if self.bits == 32 else np.floor(steps + np.random.default_rng(seed).random(len(steps)))
        words: Words = whole.astype(np.int64).astype(UNSIGNED[self.bits])
        return words

    def decode(self, words: Words, shapes: Mapping[str, tuple[int, ...]], weight: float) -> dict[str, Tensor]:
        """Return the sum that the words stand for over `weight`, as float32 tensors of these shapes."""
        values = words.view(SIGNED[self.bits]).astype(np.float64) * (self.step / weight)
        found, begin = {}, 0
        for name in sorted(shapes):
            size = math.prod(shapes[name])
            found[name] = torch.from_numpy(values[begin : begin + size].reshape(shapes[name])).float()
            begin += size
        return found


def bits_of(words: Words) -> Bits:
    """Return how many bits a word has."""
    return 16 if words.dtype.itemsize == 2 else 32
