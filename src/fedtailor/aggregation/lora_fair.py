"""LoRA-FAIR: the mean of the factors, with B corrected so that the product comes close to the mean of the products.

Source: LoRA-FAIR, 2024, arXiv:2411.14961, of which we had the abstract: the server keeps the mean A and adds a correction to the mean B, at
no cost in bytes. Its objective is a similarity of the products and a penalty on the correction.
Our own reading: the objective is the squared distance |dW* - (Bm + dB) Am|^2 + ridge |dB|^2 (m marks means), which has the closed form
dB = (dW* - Bm Am) Am' (Am Am' + ridge I)^-1. By the bias identity dW* - Bm Am = sum p (B_k - Bm)(A_k - Am), of which only its product with
Am' is ever built. All clients' factors of the round are held at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import SettingError
from ..limits import Number
from ..records import Outcome, Update
from ..tensors import Tensors
from .factors.held import Held
from .factors.lowrank import deviation, relative, stacked
from .mean import mean_delta, take_step
from .stateless import OfFactors


@dataclass(frozen=True, kw_only=True)
class LoraFair(OfFactors):
    """Average the factors, then correct B towards the mean of the clients' products."""

    kind: Literal["lora-fair"] = "lora-fair"
    ridge: Number = 0.01  # penalty on the correction, at least 0; the squared norm of a row of a fresh A is about 1/3

    def __post_init__(self) -> None:
        if not 0 <= self.ridge < float("inf"):
            raise SettingError(f"ridge is the penalty on the correction, at least 0; got {self.ridge}; 0.01 is usual")

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return the mean with corrected factors B; `bias` is what is left of the bias after the correction.

        Raises:
            EmptyRound: if no client answered.
        """
        held = Held(params=params)
        shared = take_step(params, mean_delta(map(held.see, updates)))
        shares, left = held.shares(), []
        for pair in held.pairs:
            factors = held.factors(pair)
            off = deviation(shares, factors)
            mean_a = shared[pair.a].double()
            correction = ridge_solution(off.left @ (off.right @ mean_a.T), mean_a, self.ridge)
            shared[pair.b] = (shared[pair.b] + correction).to(params[pair.b].dtype)
            left.append((off.minus(correction, mean_a).norm(), stacked(shares, factors).norm()))
        return Outcome(shared=shared, state=state, figures={"bias": relative(left)})


def ridge_solution(right_side: Tensor, a: Tensor, ridge: float) -> Tensor:
    """Return X [out, r] with X (A A' + ridge I) = right_side; the least one if ridge is 0 and A lacks full rank."""
    gram = a @ a.T + ridge * torch.eye(len(a), dtype=a.dtype)
    solution: Tensor = right_side @ torch.linalg.pinv(gram, hermitian=True)
    return solution
