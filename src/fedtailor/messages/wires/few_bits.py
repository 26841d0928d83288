"""Codes of one or two bits a value, for changes of weights.

AdamW makes all values of an update about equally long, so that their signs are nearly all there is to know of them. What a code loses is kept by
who writes it, and added the next time (error feedback; see `protection/codec.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...errors import OffManifest
from ...tensors import Tensors
from .. import TensorSpec
from .table import TOKENS

# N rows, H values in a row

THRESHOLD = 0.7  # of a row's mean absolute value: what is shorter counts as 0 in the ternary code
TRITS, POWERS = 5, (1, 3, 9, 27, 81)  # digits of 0, 1, 2 in a byte: 3^5 = 243


@dataclass(frozen=True, kw_only=True)
class SignWire:
    """A bit a value, and the mean absolute value of each row.

    Source: Karimireddy et al., 2019, arXiv:1901.09847, EF-signSGD, with a scale for each row in the place of one for each layer.
    """

    kind: Literal["sign"] = "sign"
    exact = False

    def pack(self, values_NH: Tensor, seed: int) -> dict[str, Tensor]:
        """Return bits and scales; zero counts as positive."""
        return {
            "values": torch.from_numpy(np.packbits((values_NH >= 0).numpy(), axis=1)),
            "scale": values_NH.abs().mean(1).to(torch.bfloat16),
        }

    def unpack(self, tensors: Tensors, width: int) -> Tensor:
        """Return plus or minus the scale of each row."""
        bits_NH = torch.from_numpy(np.unpackbits(tensors["values"].numpy(), axis=1, count=width))
        return (2 * bits_NH.float() - 1) * tensors["scale"].float()[:, None]

    def specs(self, width: int) -> Mapping[str, TensorSpec]:
        """Return a byte for eight values, and two for a scale."""
        return {
            "values": TensorSpec(dtype="uint8", shape=(TOKENS, -(-width // 8))),
            "scale": TensorSpec(dtype="bfloat16", shape=(TOKENS,)),
        }


@dataclass(frozen=True, kw_only=True)
class TernaryWire:
    """Minus, zero or plus, five values a byte, and the mean absolute value of those of each row that are not zero.

    Source: Li, Zhang and Liu, 2016, arXiv:1605.04711, ternary weight networks, section 3.2: threshold 0.7 of the mean, and the scale that fits best.
    """

    kind: Literal["ternary"] = "ternary"
    exact = False

    def pack(self, values_NH: Tensor, seed: int) -> dict[str, Tensor]:
        """Return digits and scales."""
        sizes_NH = values_NH.abs()
        kept_NH = sizes_NH > THRESHOLD * sizes_NH.mean(1, keepdim=True)
        scale_N = (sizes_NH * kept_NH).sum(1) / kept_NH.sum(1).clamp_min(1)
        digits_NH = (values_NH.sign() * kept_NH + 1).to(torch.int64)
        fives = torch.nn.functional.pad(digits_NH, (0, -digits_NH.shape[1] % TRITS)).reshape(len(digits_NH), -1, TRITS)
        return {"values": (fives * torch.tensor(POWERS)).sum(2).to(torch.uint8), "scale": scale_N.to(torch.bfloat16)}

    def unpack(self, tensors: Tensors, width: int) -> Tensor:
        """Return minus the scale, zero, or the scale.

        Raises:
            OffManifest: if a byte stands for no five digits.
        """
        packed = tensors["values"]
        if packed.numel() and int(packed.max()) >= 3**TRITS:
            raise OffManifest(f"a byte of {int(packed.max())} stands for no {TRITS} digits of three")
        digits_NH = (packed[..., None].long() // torch.tensor(POWERS) % 3).reshape(len(packed), -1)[:, :width]
        return (digits_NH.float() - 1) * tensors["scale"].float()[:, None]

    def specs(self, width: int) -> Mapping[str, TensorSpec]:
        """Return a byte for five values, and two for a scale."""
        return {
            "values": TensorSpec(dtype="uint8", shape=(TOKENS, -(-width // TRITS))),
            "scale": TensorSpec(dtype="bfloat16", shape=(TOKENS,)),
        }
