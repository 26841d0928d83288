"""FLoRA: the clients' factors are stacked and carried on as they are, and the trained factor starts fresh each round.

Source: Wang et al., 2024, arXiv:2409.05976: the stack [p_1 B_1 ...] [A_1; ...] has the mean product exactly, whatever the clients' ranks; it is added to the frozen
weights, and clients start the next round from a new adapter.
Differences: no weight of the backbone changes; the stack goes into the carried factor, which is cut back to rank `carry` when it exceeds it
(`carry_error` says what that lost), so that what goes down does not grow with the clients. The new A is drawn as the first one was, uniform in
+-1 / sqrt(in), from a stream that the first A seeds; B is zero. A kept optimizer's moments are of factors that are no more, so `keep_optimizer` helps
nothing. All clients' factors of the round are held at once.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..chance import stream
from ..interfaces import RuleTraits
from ..limits import Width
from ..records import Outcome, Update
from ..tensors import Tensors
from .factors.carried import Carried, check_carry, require_carried
from .factors.held import Held
from .factors.lowrank import is_carried, stacked
from .mean import mean_delta, take_step

SEED, ROUND = "seed", "round"  # names of the state


@dataclass(frozen=True, kw_only=True)
class Flora:
    """Carry the stack of all clients' factors, and start the trained ones fresh."""

    kind: Literal["flora"] = "flora"
    carry: Width = 64  # most rank of the carried factor: what goes down grows with it, what goes up does not

    def __post_init__(self) -> None:
        check_carry(self.carry)

    @property
    def traits(self) -> RuleTraits:
        """What the rule does beside averaging."""
        return RuleTraits(any_ranks=True, refactors=True, carry=self.carry)

    def init(self, params: Tensors) -> Tensors:
        """Return the seed of all further draws, made of the first A, and how many rounds are behind: int64, shaped [1].

        Raises:
            SettingError: if there are no LoRA factors, or none carried beside them.
        """
        digest = hashlib.sha256()
        for pair in require_carried(params, self.kind):
            digest.update(params[pair.a].detach().float().cpu().contiguous().numpy().tobytes())
        seed = int.from_bytes(digest.digest()[:8], "big") >> 1
        return {SEED: torch.tensor([seed]), ROUND: torch.zeros(1, dtype=torch.int64)}

    def trains(self, round: int) -> Callable[[str], bool]:
        """Return that all but the carried factors are trained, in every round."""
        return lambda name: not is_carried(name)

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return the stack among the carried factors, a new A and B = 0.

        Raises:
            EmptyRound: if no client answered.
        """
        held, carried = Held(params=params), Carried(params=params)
        shared = take_step(params, mean_delta(map(held.see_others, updates)))
        shares, behind = held.shares(), state[ROUND] + 1
        for pair in held.pairs:
            stack = stacked(shares, held.factors(pair)).times(held.scale(pair))
            shared |= carried.add(pair, stack, stack)
            shared[pair.b] = torch.zeros_like(params[pair.b])
            shared[pair.a] = _fresh(params[pair.a], seed=int(state[SEED]), round=int(behind), module=pair.module)
        return Outcome(shared=shared, state={**state, ROUND: behind}, figures=carried.figures())


def _fresh(like: Tensor, *, seed: int, round: int, module: str) -> Tensor:
    """Return an A [r, in], uniform in +-1 / sqrt(in), as PEFT draws the first one."""
    bound = float(like.shape[1]) ** -0.5
    draw = stream(seed, "flora", round, module).uniform(-bound, bound, tuple(like.shape))
    return torch.from_numpy(draw).to(like.dtype)
