"""The values that are longest, wherever they stand, for changes of weights by plain SGD.

There a few tensors hold most of an update, so what counts is chosen among all values at once and not tensor by tensor. With AdamW all values are about
equally long, and this code throws most of an update away.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...errors import OffManifest
from ...tensors import Tensors
from .. import TensorSpec
from .table import INT8_LEVELS, TOKENS, scale_of

# N rows, H values in a row: at most 255, so that a count and a place are a byte each; K values that are kept

COUNTS, KEPT = "counts", "kept"  # how many are kept of each row; the name of their sum among sizes


@dataclass(frozen=True, kw_only=True)
class TopValuesWire:
    """Values not below a threshold, as a byte each in units of their row's scale, with a byte for each one's place."""

    kind: Literal["top-k"] = "top-k"
    threshold: float = 0.0  # shorter ones count as zero
    exact = False

    def pack(self, values_NH: Tensor, seed: int) -> dict[str, Tensor]:
        """Return counts, places, values and scales."""
        kept_NH = (values_NH.abs() >= self.threshold) & (values_NH != 0)
        scale_N1 = scale_of(values_NH, INT8_LEVELS)
        steps_NH = (values_NH / torch.where(scale_N1 == 0, 1.0, scale_N1.float())).round().to(torch.int8)
        return {
            COUNTS: kept_NH.sum(1).to(torch.uint8),
            "places": kept_NH.nonzero()[:, 1].to(torch.uint8),
            "scale": scale_N1.squeeze(1),
            "values": steps_NH[kept_NH],
        }

    def unpack(self, tensors: Tensors, width: int) -> Tensor:
        """Return zeros but for what was kept.

        Raises:
            OffManifest: if the places in a row do not rise, or lie beyond its end.
        """
        counts_N, places_K = tensors[COUNTS].long(), tensors["places"].long()
        rows_K = torch.arange(len(counts_N)).repeat_interleave(counts_N)
        flat_K = rows_K * width + places_K
        if len(places_K) and (int(places_K.max()) >= width or bool((flat_K[1:] <= flat_K[:-1]).any())):
            raise OffManifest(f"places of values do not rise within a row of {width}")
        values_K = tensors["values"].float() * tensors["scale"].float()[rows_K]
        return torch.zeros(len(counts_N) * width).index_copy(0, flat_K, values_K).reshape(len(counts_N), width)

    def specs(self, width: int) -> Mapping[str, TensorSpec]:
        """Return two bytes for each value that is kept, and three for each row."""
        return {
            COUNTS: TensorSpec(dtype="uint8", shape=(TOKENS,)),
            "places": TensorSpec(dtype="uint8", shape=(KEPT,)),
            "scale": TensorSpec(dtype="bfloat16", shape=(TOKENS,)),
            "values": TensorSpec(dtype="int8", shape=(KEPT,)),
        }
