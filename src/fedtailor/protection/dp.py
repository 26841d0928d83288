"""Differential privacy for clients: federated averaging with clipped updates, and Gaussian noise on their sum.

Source: McMahan, Ramage, Talwar and Zhang, 2018, arXiv:1710.06963, DP-FedAvg with the estimator of a fixed denominator (section 2.3) and flat clipping:

    w <- w + (sum over answers of D_k min(1, S / |D_k|) + N(0, (z S)^2)) / (q N)

Adaptive clipping: Andrew, Thakkar, McMahan and Ramaswamy, 2021, arXiv:1905.03871, algorithm 1: S follows the median of the updates' norms.
Differences: the step is given to the job's aggregation rule as the mean of one client, so server momentum or FedAdam come after it; values stand
on a lattice before noise is added; the noise of the count behind adaptive clipping is max(q N / 20, z), as with q N / 20 no noise multiplier is
left where q N <= 10 z.

Nobody is weighted by examples, the divisor does not depend on who answers, and a round without answers steps by the noise alone: else the step
itself would give away who took part.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from ..errors import SettingError
from ..interfaces import Aggregation, Crossing, Plan
from ..limits import ClientCount, Number
from ..pairs import Need
from ..privacy import noise as secret
from ..privacy.accountant import LEAST_DELTA, LEAST_NOISE, Release, noise_for
from ..privacy.budget import Budget
from ..records import Message
from ..tensors import norm
from .noised_mean import Adaptive, NoisedMean

FEWEST = 3  # clients
HOPELESS = 5.0  # noise over signal of a whole run beyond which nothing was ever learned
PUBLIC = (
    "(epsilon {epsilon}, delta {delta}) for adding or removing one client with all its data, against whoever sees the shared weights of all rounds but not "
    "which clients took part"
)
KNOWING = {
    "server": "against someone who also knows that, epsilon is {epsilon} for a client that takes part in {rounds} rounds; the server itself sees each update as it is",
    "shares": "against the server, which sees each client's update with its own share of the noise, epsilon is {epsilon} for a client that takes part in "
    "{rounds} rounds",
}


@dataclass(frozen=True, kw_only=True)
class Dp:
    """Differential privacy: clients' updates are clipped, and their sum gets noise."""

    needs: ClassVar[Sequence[Need]] = (
        Need(word="same-tensors", why="of a round without answers nobody would know them", remedy="choose fedavg or ffa-lora"),
        Need(word="drawn-alike", why="each client is drawn by a coin of its own", remedy="leave select out"),
    )
    variants: ClassVar[Sequence[Mapping[str, object]]] = ({"clip": "adaptive"}, {"noise": "shares", "clip": 1.0})
    kind: Literal["dp"] = "dp"
    unit: Literal["client"] = "client"  # what is hidden: whether a client with all its data took part
    epsilon: Number | None = 8.0  # budget of the whole run: it ends before a round that would pass it; null: no bound
    delta: float | None = None  # null: the smaller of 1e-5 and N^-1.1 for N clients; below 1 / N
    clip: Number | Literal["adaptive"] = (
        "adaptive"  # largest norm of an update over all its tensors; adaptive: follows their median
    )
    start_clip: Number = 0.1  # of adaptive clipping: the norm of the first round
    noise: Literal["server", "shares"] = "server"  # server: added to the sum; shares: each client adds its share before it sends
    noise_multiplier: Number | None = (
        None  # standard deviation of the noise in clips; null: the least that keeps the planned rounds within epsilon
    )
    least: ClientCount | None = (
        None  # with shares: answers that are always there, among which the noise is shared; null: half of the clients
    )
    force: bool = False  # run also where the noise is so much larger than any update that nothing can be learned

    def __post_init__(self) -> None:
        if self.epsilon is not None and not 0 < self.epsilon < math.inf:
            raise SettingError(f"epsilon is a number above 0, or null for no bound; got {self.epsilon}; 1 to 8 are usual")
        if self.delta is not None and not LEAST_DELTA <= self.delta < 1:
            raise SettingError(f"delta is a probability from {LEAST_DELTA:g} to below 1; got {self.delta}; 1e-5 is usual")
        for name in ("start_clip", *(("clip",) if self.clip != "adaptive" else ())):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingError(f"{name} is the largest norm of an update, above 0; got {getattr(self, name)}")
        if self.noise_multiplier is not None and not LEAST_NOISE <= self.noise_multiplier < math.inf:
            raise SettingError(
                f"noise_multiplier is a number of clips, at least {LEAST_NOISE}; got {self.noise_multiplier}; 0.5 to 10 are usual"
            )
        if self.epsilon is None and self.noise_multiplier is None:
            raise SettingError("one of epsilon and noise_multiplier says how much noise there is; give one of them")
        if self.noise == "shares" and self.clip == "adaptive":
            raise SettingError(
                "noise: shares does not go with clip: adaptive, which counts at the server how many updates were shorter; give clip as a number"
            )
        if self.least is not None and self.least < 1:
            raise SettingError(f"least is a number of clients, at least 1; got {self.least}")

    @property
    def gives(self) -> Mapping[str, bool | str]:
        """See `pairs`."""
        return {
            "noise-apart": self.noise == "server" or "with noise: shares",
            "blind-server": self.clip != "adaptive" or "with clip: adaptive",
        }

    def delta_for(self, plan: Plan) -> float:
        """Return delta for so many clients."""
        return min(1e-5, plan.clients**-1.1) if self.delta is None else self.delta

    def multiplier(self, plan: Plan) -> float:
        """Return the standard deviation of the noise on a round's sum, in clips: the one given, or the least for the planned rounds.

        Raises:
            SettingError: if no noise keeps to the budget.
        """
        if self.noise_multiplier is not None:
            return self.noise_multiplier
        assert self.epsilon is not None  # `__post_init__` has seen to it
        try:
            return noise_for(self.epsilon, self.delta_for(plan), rate=plan.rate, rounds=plan.rounds)
        except ValueError as fault:
            raise SettingError(f"protection: dp: {fault}; take a larger epsilon, or fewer rounds") from None

    def ratio(self, plan: Plan) -> float:
        """Return the norm of a run's noise over that of its signal, if each client sent an update of the clip's length each round, all alike."""
        return self.multiplier(plan) * math.sqrt(plan.values / plan.rounds) / plan.expected

    def settles(self, job: Any) -> Mapping[str, Any]:
        """Return what of a job's `stop` depends on clients' validation data, which no rounds may be chosen by."""
        if getattr(job.data, "validation", None) is not None:
            return {}
        return {"stop": replace(job.stop, keep="last", patience=None)}

    def check(self, job: Any, plan: Plan) -> list[str]:
        """Return what is to be said of a run before it.

        Raises:
            SettingError: naming what does not go together.
        """
        name, delta = "protection: dp", self.delta_for(plan)
        if plan.clients < FEWEST:
            raise SettingError(
                f"{name} hides one client among others, and there are {plan.clients}; it takes {FEWEST} clients at least, and usefully about 1,000"
            )
        if delta >= 1 / plan.clients:
            raise SettingError(
                f"{name}: delta is {delta:g}, and must be below 1 / {plan.clients} clients: else giving one client away whole would be allowed"
            )
        if self.noise == "shares" and plan.rate < 1:
            raise SettingError(
                f"{name} with noise: shares asks every client in each round; leave clients.fraction and per_round out, or choose noise: server"
            )
        if self.clip == "adaptive" and self._count_noise(plan) > 0.1 * plan.expected:
            raise SettingError(
                f"{name}: clip: adaptive counts how many updates are shorter, and among {plan.expected:g} clients a round that count would be noise; give clip as a number"
            )
        ratio = self.ratio(plan)
        said = (
            f"{name}: over the run the noise is {ratio:.2g} times as long as all clients' updates together can be ({plan.values:,} weights, {plan.clients} clients, "
            f"noise multiplier {self.multiplier(plan):.3g})"
        )
        if ratio > HOPELESS and not self.force:
            raise SettingError(
                f"{said}: nothing can be learned; take more clients, fewer weights or a larger epsilon, or set force: true to run it all the same"
            )
        notes = [f"{said}; beyond 1 little is learned"] if ratio > 1 else []
        if (weights := job.protocol.weights) != "uniform":
            notes.append(f"{name}: all clients count alike: protocol.weights: {weights} has no effect")
        return notes

    def budget(self, plan: Plan) -> Budget:
        """Return what counts the rounds of a run."""
        z = self.multiplier(plan)
        share = z / math.sqrt(self.shared_by(plan)) if self.noise == "shares" else z
        return Budget(
            delta=self.delta_for(plan),
            most=self.epsilon,
            next=Release(noise_multiplier=z, rate=plan.rate),
            seen=Release(noise_multiplier=share, rate=1.0),
            words=(PUBLIC, KNOWING[self.noise]),
        )

    def shared_by(self, plan: Plan) -> int:
        """Return among how many answers the noise is shared."""
        return self.least or max(1, plan.clients // 2)

    def on_sum(self, rule: Aggregation, plan: Plan) -> Aggregation:
        """Return the rule behind clipped sums with noise and a constant divisor."""
        z = self.multiplier(plan)
        adaptive = None
        if self.clip == "adaptive":
            counted = self._count_noise(plan)
            adaptive = Adaptive(start=self.start_clip, deviation=counted)
            z = (z**-2 - (2 * counted) ** -2) ** -0.5  # the count spends a part of each round's budget: the paper's theorem 1
        if isinstance(self.clip, int | float):
            z *= 1 + plan.lengthened / self.clip  # noise is as much larger as rounding before the sum may make an update
        return NoisedMean(
            inner=rule,
            clip=None if self.clip == "adaptive" else self.clip,
            adaptive=adaptive,
            noise_multiplier=z if self.noise == "server" else None,
            divisor=plan.expected,
            least=self.shared_by(plan) if self.noise == "shares" else 0,
            source=secret.system_bytes,
        )

    def leave(self, message: Message, crossing: Crossing) -> Message:
        """Return an update no longer than `clip`, with this client's share of the noise if there is one; adaptive clips are the server's."""
        update = crossing.revealing("update", message)
        if not update or self.clip == "adaptive":
            return message
        factor = min(1.0, self.clip / max(norm(update), 1e-30))
        plan = crossing.plan
        share = self.multiplier(plan) / math.sqrt(self.shared_by(plan)) if self.noise == "shares" and plan is not None else 0.0
        sent = {name: _noised(value, factor, self.clip, share) for name, value in update.items()}
        return replace(message, tensors={**message.tensors, **sent})

    def arrive(self, message: Message, crossing: Crossing) -> Message:
        """Return the message as it is: the sum is not this part's."""
        return message

    def _count_noise(self, plan: Plan) -> float:
        """Return the standard deviation of the noise on the count of short updates."""
        return max(plan.expected / 20, self.multiplier(plan))


def _noised(value: torch.Tensor, factor: float, clip: float, share: float) -> torch.Tensor:
    """Return a tensor times `factor`; with its share of the noise, on the lattice, if that is above 0."""
    if not share:
        return (value.float() * factor).to(value.dtype)
    step = clip * secret.LATTICE
    whole = secret.on_lattice(np.ascontiguousarray(value.detach().double().numpy()) * factor, step)
    drawn = secret.lattice_noise(whole.size, share / secret.LATTICE, secret.system_bytes).reshape(whole.shape)
    return torch.from_numpy((whole + drawn) * step).to(value.dtype)
