"""FedRot-LoRA: each client's factors are turned towards the shared ones before they are averaged.

Source: FedRot-LoRA, 2026, arXiv:2602.23638, of which we had the abstract: factors that differ by a rotation have the same product
but not the same mean; clients' factors are aligned by orthogonal transformations first.
Our own reading, the whole of it: the orthogonal R that brings (B_k R, R'A_k) closest to the shared (B, A) before the round is U V' of the
SVD of M = B_k'B + A_k A'. With `strength` t below 1, M is replaced by t M + (1 - t) c I, c the mean singular value of M: the same problem
with a penalty on |R - I|. (B_k R)(R'A_k) is the client's own product for every R, so one client alone gets its product back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..errors import SettingError
from ..limits import Number
from ..records import Outcome, Update
from ..tensors import Tensors
from .factors.held import mean_and_bias
from .factors.lowrank import Pair, require_factors
from .mean import take_step
from .stateless import OfFactors


@dataclass(frozen=True, kw_only=True)
class FedRotLora(OfFactors):
    """Turn each client's factors towards the shared ones, then average them."""

    kind: Literal["fedrot-lora"] = "fedrot-lora"
    strength: Number = 1.0  # how far factors are turned, from 0 (plain averaging) to 1 (the closest alignment)

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise SettingError(f"strength is from 0 (plain averaging) to 1 (the closest alignment); got {self.strength}")

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return params + the mean of the aligned deltas; `bias` is what is left of the bias after alignment.

        Raises:
            EmptyRound: if no client answered.
        """
        pairs = require_factors(params, self.kind)
        mean, figures = mean_and_bias((self._aligned(update, params, pairs) for update in updates), params)
        return Outcome(shared=take_step(params, mean), state=state, figures=figures)

    def _aligned(self, update: Update, params: Tensors, pairs: Sequence[Pair]) -> Update:
        """Return the update as if the client had trained turned factors."""
        turned = dict(update.delta)
        for pair in pairs:
            shared_b, shared_a = params[pair.b].double(), params[pair.a].double()
            b, a = shared_b + update.delta[pair.b].double(), shared_a + update.delta[pair.a].double()
            rotation = closest_rotation(b.T @ shared_b + a @ shared_a.T, self.strength)
            turned[pair.b], turned[pair.a] = (b @ rotation - shared_b).float(), (rotation.T @ a - shared_a).float()
        return replace(update, delta=turned)


def closest_rotation(alignment: Tensor, strength: float = 1.0) -> Tensor:
    """Return the orthogonal R [r, r] with the largest tr(R'M) for M = strength * alignment + (1 - strength) * c I.

    c is the mean singular value of `alignment`, so that both parts count alike.
    """
    u, s, vt = torch.linalg.svd(alignment)
    if strength < 1:
        mixed = strength * alignment + (1 - strength) * s.mean() * torch.eye(len(alignment), dtype=alignment.dtype)
        u, _, vt = torch.linalg.svd(mixed)
    rotation: Tensor = u @ vt
    return rotation
