"""Soft prompts: vectors behind a text, written in a prompt's file, and the random subspace that they are searched in.

Source: Sun et al., 2022, arXiv:2201.03514 (black-box tuning), section 3.2: p = p0 + A z, with A drawn once. Differences: the vectors stand
between the text and its answer, so that a text is read once; p0 are embeddings of tokens drawn by the seed.
"""

import base64
import binascii
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..chance import stream
from ..errors import SettingError

WIRE = "<f4"  # float32, little endian


def vectors_text(vectors_PD: Tensor) -> str:
    """Return vectors as a text: base64 of their float32 values, row by row."""
    return base64.b64encode(vectors_PD.detach().cpu().numpy().astype(WIRE).tobytes()).decode()


def vectors_of(text: str, width: int) -> Tensor:
    """Return the vectors [P, width] of such a text, float32; none for an empty text.

    Raises:
        SettingError: if it is no such text, for vectors of another width, or holds a value that is not finite.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SettingError("the vectors of a prompt are no base64 text; use the file that a search wrote") from None
    if len(raw) % (4 * width):
        raise SettingError(
            f"the vectors of a prompt have {len(raw) // 4:,} values, no multiple of the backbone's width {width:,}"
        )
    values = np.frombuffer(raw, dtype=WIRE).reshape(-1, width)
    if not np.isfinite(values).all():
        raise SettingError("the vectors of a prompt hold NaN or infinity")
    return torch.from_numpy(values.astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class Subspace:
    """Where a soft prompt is searched: its values are start + z times directions."""

    start: Tensor  # [P, D], p0
    directions: Tensor  # [n, P * D]

    def vectors(self, z: np.ndarray) -> Tensor:
        """Return the vectors [P, D] at a point [n]."""
        return self.start + (torch.from_numpy(np.asarray(z, dtype=np.float32)) @ self.directions).view_as(self.start)


def subspace(embeddings_VD: Tensor, *, length: int, dimensions: int, seed: int) -> Subspace:
    """Return the subspace that a seed draws: at a standard normal z, values differ from p0 as embeddings do among themselves."""
    table = embeddings_VD.detach().float().cpu()
    draw = stream(seed, "soft-prompt")
    start = table[torch.from_numpy(draw.integers(len(table), size=length))].clone()
    normal = draw.standard_normal((dimensions, start.numel()), dtype=np.float32)
    spread = float(table.double().std()) / math.sqrt(dimensions)
    return Subspace(start=start, directions=torch.from_numpy(normal) * spread)
