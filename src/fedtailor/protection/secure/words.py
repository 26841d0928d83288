"""Updates as whole numbers that add up modulo 2^32, and back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import TooLarge
from ...tensors import Tensors

Words = NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True)
class FixedPoint:
    """Values up to `most` in steps so small that the sum of `clients` of them fits into 32 bits."""

    most: float
    clients: int

    @property
    def step(self) -> float:
        """A power of two: n (2 most / step + 1) <= 2^32."""
        return 2.0 ** math.ceil(math.log2(2 * self.most / (2**32 / self.clients - 1)))

    def encode(self, tensors: Tensors, factor: float) -> Words:
        """Return all values times a factor of at most 1, in the order of names, each rounded to the nearest step.

        Raises:
            TooLarge: if a value exceeds the bound: it would run over in the sum, where nobody could see it.
        """
        parts = [(tensors[name].detach().double().numpy().reshape(-1) * factor) for name in sorted(tensors)]
        values = np.concatenate(parts) if parts else np.zeros(0)
        if values.size and not np.abs(values).max() <= self.most:
            raise TooLarge(
                f"the update holds {np.abs(values).max():g}, and protection.most of secure-aggregation is {self.most:g}; raise it, or try a smaller learning rate"
            )
        return np.rint(values / self.step).astype(np.int64).astype(np.uint32)

    def decode(self, words: Words, shapes: Mapping[str, tuple[int, ...]], weight: float) -> dict[str, Tensor]:
        """Return the sum that the words stand for over `weight`, as float32 tensors of these shapes."""
        values = words.astype(np.int32).astype(np.float64) * (self.step / weight)
        found, begin = {}, 0
        for name in sorted(shapes):
            size = math.prod(shapes[name])
            found[name] = torch.from_numpy(values[begin : begin + size].reshape(shapes[name])).float()
            begin += size
        return found
