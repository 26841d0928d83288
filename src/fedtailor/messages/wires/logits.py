"""Logits on the wire: whole rows or the likeliest entries, in float32, float16 or int8.

A row of logits means the same with any number added to all of it. So each is sent around the middle of its range, where float16 is
finest and int8 wastes nothing. Of a row that is cut to its k likeliest entries there are sent their places, their log-probabilities and one
number more: the logarithm of all the mass that is left, which is spread evenly over the absent entries when the row is rebuilt. Absent
entries are never taken as zero: that would teach the student that they are impossible.

Students learn from rows that are softened by a temperature T. Mass that is spread evenly and softened then grows with the number of entries: of
1 % over 49,000 tokens, T = 2 makes twenty times what the likeliest token has. So rows are softened before they are cut; what is left is then right at T.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...errors import OffManifest
from ...tensors import Tensors, check_finite
from ..specs import TensorSpec

# M positions, C classes or tokens, k entries of a row that are sent, W = C or k + 1 numbers of a row

Width = Literal["float32", "float16", "int8"]
VALUES, SCALE, ENTRIES = "logits/values", "logits/scale", "logits/entries"
BYTES: Mapping[str, int] = {"float32": 4, "float16": 2, "int8": 1}
LEAST_LOG = -30.0  # of entries and of the mass that is left, where rows are cut: 1e-13
STEPS = 127  # of int8 on each side of the middle
SHORT = 2**16  # entries up to here fit into int16


@dataclass(frozen=True, kw_only=True)
class LogitsWire:
    """One form of logits on the wire."""

    dtype: Width
    classes: int  # C
    top_k: int | None = None  # k, below C; None: whole rows
    temperature: float = 1.0  # T, that rows are softened by before they are cut; whole rows are never softened

    @property
    def width(self) -> int:
        """How many numbers are sent of a row, W; places of entries apart."""
        return self.classes if self.top_k is None else self.top_k + 1

    def encode(self, logits_MC: Tensor) -> dict[str, Tensor]:
        """Return the rows as tensors for a message.

        int8: one float32 scale a row, the largest distance from the middle divided by 127; the error is at most half of it.

        Raises:
            NotFinite: if a logit is NaN or infinite, which int8 could not show.
        """
        check_finite({"logits": logits_MC}, "logits")
        rows_MW, more = torch.log_softmax(logits_MC.float(), dim=-1), {}
        if self.top_k is not None:
            rows_MW, entries_MK = _likeliest(torch.log_softmax(rows_MW / self.temperature, dim=-1), self.top_k)
            more[ENTRIES] = (entries_MK - SHORT // 2).to(torch.int16) if self.classes <= SHORT else entries_MK.to(torch.int32)
        rows_MW = rows_MW - (rows_MW.amax(-1, keepdim=True) + rows_MW.amin(-1, keepdim=True)) / 2
        if self.dtype != "int8":
            return {VALUES: rows_MW.to(getattr(torch, self.dtype)).contiguous(), **more}
        scale_M = rows_MW.abs().amax(-1) / STEPS
        scale_M = torch.where(scale_M > 0, scale_M, 1.0)  # all entries alike
        steps_MW = (rows_MW / scale_M[:, None]).round().clamp(-STEPS, STEPS)
        return {VALUES: steps_MW.to(torch.int8).contiguous(), SCALE: scale_M.contiguous(), **more}

    def decode(self, tensors: Tensors, places: Tensor | slice = slice(None)) -> Tensor:
        """Return float32 log-probabilities [M, C] of all rows or of some, not softened; each row sums to 1."""
        rows_MW = tensors[VALUES][places].float()
        if self.dtype == "int8":
            rows_MW = rows_MW * tensors[SCALE][places][:, None]
        rows_MW = torch.log_softmax(rows_MW, dim=-1)
        if self.top_k is None:
            return rows_MW
        absent = math.log(self.classes - self.top_k)
        if self.temperature != 1:
            rows_MW = rows_MW * self.temperature
            rows_MW[:, -1] -= (self.temperature - 1) * absent  # each absent entry is its share of the rest, to the power of T
            rows_MW = torch.log_softmax(rows_MW, dim=-1)
        spread_MC = (rows_MW[:, -1:] - absent).repeat(1, self.classes)
        return spread_MC.scatter_(1, self._entries(tensors, places), rows_MW[:, :-1])

    def check(self, tensors: Tensors, places: int) -> None:
        """Raise OffManifest unless the tensors hold so many rows, and entries that exist, none twice in a row."""
        wrong = [name for name, value in tensors.items() if len(value) != places]
        if wrong:
            raise OffManifest(f"{wrong[0]} has {len(tensors[wrong[0]])} rows where {places} were asked for")
        if self.top_k is None:
            return
        entries_MK = self._entries(tensors, slice(None)).sort(-1).values
        if places and (entries_MK.amin() < 0 or entries_MK.amax() >= self.classes):
            raise OffManifest(f"{ENTRIES} names an entry beyond the {self.classes} that there are")
        if bool((entries_MK[:, 1:] == entries_MK[:, :-1]).any()):
            raise OffManifest(f"{ENTRIES} names an entry twice in one row")

    def specs(self, places: int | str) -> dict[str, TensorSpec]:
        """Return the form of the tensors; `places` is M, or the name of its bound in the manifest."""
        found = {VALUES: TensorSpec(dtype=self.dtype, shape=(places, self.width))}
        if self.dtype == "int8":
            found[SCALE] = TensorSpec(dtype="float32", shape=(places,))
        if self.top_k is not None:
            dtype = "int16" if self.classes <= SHORT else "int32"
            found[ENTRIES] = TensorSpec(dtype=dtype, shape=(places, self.top_k))
        return found

    def size_bytes(self, places: int) -> int:
        """Return the bytes of the tensors of so many rows: W b, and 4 for an int8 row's scale, and 2 or 4 for each entry's place."""
        row = self.width * BYTES[self.dtype] + (4 if self.dtype == "int8" else 0)
        return places * (row + (self.top_k or 0) * (2 if self.classes <= SHORT else 4))

    def _entries(self, tensors: Tensors, places: Tensor | slice) -> Tensor:
        entries_MK = tensors[ENTRIES][places].long()
        return entries_MK + SHORT // 2 if self.classes <= SHORT else entries_MK


def _likeliest(logp_MC: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities of the k likeliest entries of each row and, last, of all others together; and the entries' places."""
    top = logp_MC.topk(k, dim=-1)
    rest_M1 = logp_MC.scatter(1, top.indices, -math.inf).logsumexp(-1, keepdim=True)
    return torch.cat([top.values, rest_M1], dim=-1).clamp(min=LEAST_LOG), top.indices
