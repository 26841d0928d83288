"""The sum of clipped updates with noise, over a constant: what stands in the place of the weighted mean under differential privacy."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import RunError, SettingError
from ..interfaces import Aggregation, RuleTraits, traits_of
from ..privacy.noise import LATTICE, RandomBytes, lattice_noise, normal_draw, on_lattice
from ..records import Outcome, Update
from ..tensors import Tensors, norm

CLIP = "dp/clip"  # in the state, beside the inner rule's: the norm of the next round
QUANTILE, RATE = (
    0.5,
    0.2,
)  # of arXiv:1905.03871: the share of updates that are to be shorter, and the speed at which the clip follows


@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """A clip that follows the median of the updates' norms."""

    start: float
    deviation: float  # of the noise on the count of updates that were shorter, each of which counts 1/2 or -1/2

    def next(self, clip: float, short: float, divisor: float, source: RandomBytes) -> float:
        """Return the clip of the next round; `short` is the sum of 1/2 for each update that was not longer, and -1/2 for each that was."""
        share = 0.5 + (short + self.deviation * normal_draw(source)) / divisor
        return clip * math.exp(-RATE * (share - QUANTILE))


@dataclass(frozen=True, kw_only=True)
class NoisedMean:
    """Hands a rule the noised sum of clipped updates over a constant, as if one client had sent it."""

    inner: Aggregation
    clip: float | None  # None: adaptive
    adaptive: Adaptive | None
    noise_multiplier: float | None  # None: clients have added it
    divisor: float  # clients of a round, expected
    least: int  # answers without which the clients' shares of the noise are too little
    source: RandomBytes

    @property
    def kind(self) -> str:
        """The name of the rule that gets the mean."""
        return str(getattr(self.inner, "kind", type(self.inner).__name__))

    @property
    def traits(self) -> RuleTraits:
        """Those of the rule; and a round counts however few answered."""
        return replace(traits_of(self.inner), any_answers=True)

    def init(self, params: Tensors) -> Tensors:
        """Return the rule's state, and the first clip if it is adaptive.

        Raises:
            SettingError: if the rule does not fit these tensors, or trains others in each round: of a round without answers nobody would know them.
        """
        if self._names(params, 1) != self._names(params, 2):
            raise SettingError(
                f"protection: dp does not go with aggregation: {self.kind}, which trains other tensors in each round; choose fedavg or ffa-lora"
            )
        first = {} if self.adaptive is None else {CLIP: torch.tensor(self.adaptive.start, dtype=torch.float64)}
        return {**self.inner.init(params), **first}

    def trains(self, round: int) -> Callable[[str], bool]:
        """Return what the rule trains."""
        return self.inner.trains(round)

    def combine(self, updates: Iterable[Update], params: Tensors, state: Tensors) -> Outcome:
        """Return what the rule makes of the noised mean.

        Raises:
            RunError: if clients' shares of the noise come to too little.
        """
        kept = {name: value for name, value in state.items() if name != CLIP}
        clip = float(state[CLIP]) if self.clip is None else self.clip
        step = clip * LATTICE
        names = self._names(params, 1)
        totals: dict[str, NDArray[np.int64]] = {name: np.zeros(tuple(params[name].shape), dtype=np.int64) for name in names}
        answers, short, scale = 0, 0.0, {}
        for update in updates:
            length = norm(update.delta)
            factor = min(1.0, clip / max(length, 1e-30)) if self.noise_multiplier is not None else 1.0
            for name in names:
                totals[name] += on_lattice(update.delta[name].detach().double().numpy() * factor, step)
            answers, short, scale = answers + 1, short + (0.5 if length <= clip else -0.5), dict(update.scale)
        if answers < self.least:
            raise RunError(
                f"{answers} clients answered, and their shares of the noise are enough from {self.least} on (protection.least): the round is thrown away; "
                "use fedtailor run --resume RUN once more clients are there"
            )
        mean = {name: self._mean(total, step).to(torch.float32) for name, total in totals.items()}
        found = self.inner.combine([Update(client="", version=0, delta=mean, weight=1.0, scale=scale)], params, kept)
        if self.adaptive is None:
            return found
        following = self.adaptive.next(clip, short, self.divisor, self.source)
        return replace(
            found,
            state={**found.state, CLIP: torch.tensor(following, dtype=torch.float64)},
            figures={**found.figures, "clip_norm": clip},
        )

    def _names(self, params: Tensors, round: int) -> list[str]:
        trains = self.inner.trains(round)
        return [name for name in params if trains(name)]

    def _mean(self, total: NDArray[np.int64], step: float) -> torch.Tensor:
        noise = (
            0
            if self.noise_multiplier is None
            else lattice_noise(total.size, self.noise_multiplier / LATTICE, self.source).reshape(total.shape)
        )
        return torch.from_numpy((total + noise) * (step / self.divisor))
