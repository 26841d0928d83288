"""How activations and their gradients are written on the wire: one row of numbers per token.

Nothing of a code is differentiated: what was read takes the place of what was written, in both directions (straight-through).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...errors import OffManifest, SettingError
from ...limits import Few
from ...tensors import Tensors
from .. import TensorSpec

# N tokens without padding, H hidden width, G groups of a row, S values in a group, K channels that are kept

TOKENS = "tokens"  # the name, in a manifest, of the most tokens in a message
GROUP = 32  # values that share a scale in int4, usually
INT4_LEVELS, INT8_LEVELS = 7, 127


class Wire(Protocol):
    """One way to write a table of numbers; a frozen dataclass of its settings."""

    @property
    def kind(self) -> str:
        """The name by which a job chooses it."""

    @property
    def exact(self) -> bool:
        """Whether float32 values come back as they were."""

    def pack(self, values_NH: Tensor, seed: int) -> dict[str, Tensor]:
        """Return the tensors that stand for float32 `values_NH`; a code that draws, draws from `seed`."""

    def unpack(self, tensors: Tensors, width: int) -> Tensor:
        """Return float32 [N, H] from what `pack` made of a table of that width."""

    def specs(self, width: int) -> Mapping[str, TensorSpec]:
        """Return the form of these tensors."""


@dataclass(frozen=True, kw_only=True)
class Float32Wire:
    """As computed, 4 bytes a value."""

    kind: Literal["float32"] = "float32"
    exact = True

    def pack(self, values_NH: Tensor, seed: int) -> dict[str, Tensor]:
        return {"values": values_NH.float().contiguous()}

    def unpack(self, tensors: Tensors, width: int) -> Tensor:
        return tensors["values"]

    def specs(self, width: int) -> Mapping[str, TensorSpec]:
        return {"values": TensorSpec(dtype="float32", shape=(TOKENS, width))}


@dataclass(frozen=True, kw_only=True)
class BFloat16Wire:
    """Rounded to 8 significant bits, 2 bytes a value."""

    kind: Literal["bfloat16"] = "bfloat16"
    exact = False

    def pack(self, values_NH: Tensor, seed: int) -> dict[str, Tensor]:
        return {"values": values_NH.to(torch.bfloat16).contiguous()}

    def unpack(self, tensors: Tensors, width: int) -> Tensor:
        return tensors["values"].float()

    def specs(self, width: int) -> Mapping[str, TensorSpec]:
        return {"values": TensorSpec(dtype="bfloat16", shape=(TOKENS, width))}


@dataclass(frozen=True, kw_only=True)
class Int8Wire:
    """A scale for each token, its largest absolute value / 127, and a byte a value: off by at most half a scale."""

    kind: Literal["int8"] = "int8"
    exact = False

    def pack(self, values_NH: Tensor, seed: int) -> dict[str, Tensor]:
        scale_N1 = scale_of(values_NH, INT8_LEVELS)
        steps_NH = (values_NH / _divisor(scale_N1)).round()
        return {"values": steps_NH.to(torch.int8), "scale": scale_N1.squeeze(-1)}

    def unpack(self, tensors: Tensors, width: int) -> Tensor:
        return tensors["values"].float() * tensors["scale"].float()[:, None]

    def specs(self, width: int) -> Mapping[str, TensorSpec]:
        return {
            "values": TensorSpec(dtype="int8", shape=(TOKENS, width)),
            "scale": TensorSpec(dtype="bfloat16", shape=(TOKENS,)),
        }


@dataclass(frozen=True, kw_only=True)
class Int4Wire:
    """A scale for a group of values of a token and half a byte a value, rounded up or down by chance so that the mean is right.

    Source: Alistarh et al., 2017, arXiv:1610.02132, QSGD, section 3.1, with the largest absolute value of a group in the place of
    the Euclidean norm of the whole.
    """

    kind: Literal["int4"] = "int4"
    group: Few = GROUP  # values that share a scale, an even number
    exact = False

    def __post_init__(self) -> None:
        if self.group < 2 or self.group % 2:
            raise SettingError(
                f"group is how many values share a scale, an even number from 2; got {self.group}; {GROUP} is usual"
            )

    def pack(self, values_NH: Tensor, seed: int) -> dict[str, Tensor]:
        grouped_NGS = _groups(values_NH, self.group)
        scale_NG1 = scale_of(grouped_NGS, INT4_LEVELS)
        draw = torch.rand(grouped_NGS.shape, generator=torch.Generator().manual_seed(seed))
        steps_NGS = (grouped_NGS / _divisor(scale_NG1) + draw).floor().clamp(-INT4_LEVELS, INT4_LEVELS) + INT4_LEVELS
        flat_NS = steps_NGS.reshape(len(values_NH), -1).to(torch.uint8)
        return {"values": flat_NS[:, ::2] | flat_NS[:, 1::2] << 4, "scale": scale_NG1.squeeze(-1)}

    def unpack(self, tensors: Tensors, width: int) -> Tensor:
        packed, scale_NG = tensors["values"], tensors["scale"].float()
        steps = torch.stack((packed & 15, packed >> 4), dim=-1).float() - INT4_LEVELS
        values_NGS = steps.reshape(*scale_NG.shape, self.group) * scale_NG[..., None]
        return values_NGS.reshape(len(packed), -1)[:, :width]

    def specs(self, width: int) -> Mapping[str, TensorSpec]:
        groups = math.ceil(width / self.group)
        return {
            "values": TensorSpec(dtype="uint8", shape=(TOKENS, groups * self.group // 2)),
            "scale": TensorSpec(dtype="bfloat16", shape=(TOKENS, groups)),
        }


@dataclass(frozen=True, kw_only=True)
class TopChannelsWire:
    """The channels that are largest over all tokens of the message, in bfloat16; the others count as zero."""

    kind: Literal["top-channels"] = "top-channels"
    share: float = 0.25  # of the channels that are sent, above 0 and up to 1
    exact = False

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise SettingError(f"share is that of the channels sent, above 0 and up to 1; got {self.share}; 0.25 is usual")

    def pack(self, values_NH: Tensor, seed: int) -> dict[str, Tensor]:
        kept_K = values_NH.square().sum(0).topk(self._count(values_NH.shape[1])).indices.sort().values
        return {"values": values_NH[:, kept_K].to(torch.bfloat16).contiguous(), "channels": kept_K.to(torch.int32)}

    def unpack(self, tensors: Tensors, width: int) -> Tensor:
        values_NK = tensors["values"].float()
        return values_NK.new_zeros(len(values_NK), width).index_copy(1, tensors["channels"].long(), values_NK)

    def specs(self, width: int) -> Mapping[str, TensorSpec]:
        count = self._count(width)
        return {
            "values": TensorSpec(dtype="bfloat16", shape=(TOKENS, count)),
            "channels": TensorSpec(dtype="int32", shape=(count,)),
        }

    def _count(self, width: int) -> int:
        return max(1, round(self.share * width))


WIRES: Mapping[str, type] = {
    "float32": Float32Wire,
    "bfloat16": BFloat16Wire,
    "int8": Int8Wire,
    "int4": Int4Wire,
    "top-channels": TopChannelsWire,
}


def read_table(wire: Wire, tensors: Tensors, width: int, tokens: int) -> Tensor:
    """Return float32 [tokens, width] from what `Wire.pack` made.

    Raises:
        OffManifest: if the tensors do not fit together, or stand for another number of tokens.
    """
    try:
        values_NH = wire.unpack(tensors, width)
    except (RuntimeError, LookupError) as fault:
        raise OffManifest(f"tensors of a {wire.kind} table do not fit together: {fault}") from fault
    if values_NH.shape != (tokens, width):
        raise OffManifest(f"a table of shape {tuple(values_NH.shape)} came for {tokens} tokens of width {width}")
    return values_NH


def scale_of(values: Tensor, levels: int) -> Tensor:
    """Return the largest absolute value over the last dimension, kept as 1, divided by `levels`, as bfloat16; rounded up."""
    exact = values.abs().amax(-1, keepdim=True).float() / levels
    rounded = exact.to(torch.bfloat16)
    up = torch.nextafter(rounded, rounded.new_tensor(math.inf))
    return torch.where(rounded.float() < exact, up, rounded)  # rounded down, the largest values would be clipped


def _divisor(scale: Tensor) -> Tensor:
    return torch.where(scale == 0, 1.0, scale.float())  # all values are zero


def _groups(values_NH: Tensor, size: int) -> Tensor:
    """Return the rows in groups of so many values [N, G, S], the last filled up with zeros."""
    short = -values_NH.shape[1] % size
    return pad(values_NH, (0, short)).reshape(len(values_NH), -1, size)
