"""Settings of DP-SGD, and what they make of a client's number of units.

Source: Abadi et al., 2016, arXiv:1607.00133, algorithm 1: batches are drawn by a coin for each unit, the gradient of each unit is shortened to `clip`, their
sum gets Gaussian noise and is divided by the number of units expected. Differences: a unit is an example, or all examples of a person (a
column names it), whose gradient is that of the mean loss over all its targets; any optimizer follows, as it works on what is released already.

A client's number of units counts as known. Its rate is rounded up to two digits, so that clients of about one size have one noise multiplier.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

from ...errors import SettingError
from ...limits import BatchSize, Number
from ...pairs import USUAL_NEEDS, Need
from ...privacy.accountant import LEAST_DELTA, LEAST_NOISE, noise_for

NAME = "protocol.local.privacy: dp-sgd"
NEEDS = (
    *USUAL_NEEDS["personalization"][:1],
    Need(
        word="updates",
        why="it is of clients that train the shared weights and send what changed",
        remedy="choose protocol: averaging, or leave it out",
    ),
    Need(
        word="one-loss",
        why="the noise of a step is meant for the gradient of one loss",
        remedy="leave it out, or choose protection: dp, which adds noise to whole updates",
    ),
    Need(
        word="home-noised",
        why="the shared weights would be trained with noise through weights that were trained without any",
        remedy="choose personalization: fedper, ditto or finetune",
    ),
)


@dataclass(frozen=True, kw_only=True)
class UnitColumn:
    """Examples with the same value in a column belong to one unit, such as a person."""

    column: str  # of the data, such as patient_id

    def __post_init__(self) -> None:
        if not self.column.strip():
            raise SettingError("unit.column is the name of a column of the data, such as patient_id; got an empty text")


@dataclass(frozen=True, kw_only=True)
class DpSgd:
    """Gradients of single examples or persons are clipped and their sums get noise, so that an update says almost nothing of any of them."""

    needs: ClassVar[Sequence[Need]] = NEEDS
    kind: Literal["dp-sgd"] = "dp-sgd"
    unit: Literal["example"] | UnitColumn = (
        "example"  # what is hidden: one example, or all examples with the same value in a column
    )
    epsilon: Number | None = 8.0  # budget of each client for the whole run; null: no bound
    delta: float = 1e-5  # below 1 / N for N units of a client
    clip: Number = 1.0  # largest norm of the gradient of one unit, over all trained weights
    noise_multiplier: Number | None = (
        None  # standard deviation of the noise in clips; null: the least that keeps the planned rounds within epsilon
    )
    most_rows: BatchSize = 16  # examples of one unit that are used; further ones are left out of training

    def __post_init__(self) -> None:
        if self.epsilon is not None and not 0 < self.epsilon < math.inf:
            raise SettingError(f"epsilon is a number above 0, or null for no bound; got {self.epsilon}; 1 to 8 are usual")
        if not LEAST_DELTA <= self.delta < 1:
            raise SettingError(f"delta is a probability from {LEAST_DELTA:g} to below 1; got {self.delta}; 1e-5 is usual")
        if not 0 < self.clip < math.inf:
            raise SettingError(f"clip is the largest norm of the gradient of one unit, above 0; got {self.clip}; 1 is usual")
        if self.noise_multiplier is not None and not LEAST_NOISE <= self.noise_multiplier < math.inf:
            raise SettingError(
                f"noise_multiplier is a number of clips, at least {LEAST_NOISE}; got {self.noise_multiplier}; 0.5 to 2 are usual"
            )
        if self.epsilon is None and self.noise_multiplier is None:
            raise SettingError("one of epsilon and noise_multiplier says how much noise there is; give one of them")
        if self.most_rows < 1:
            raise SettingError(f"most_rows is a number of examples, at least 1; got {self.most_rows}")

    @property
    def column(self) -> str | None:
        """The column that names the units; None: each example is one."""
        return self.unit.column if isinstance(self.unit, UnitColumn) else None

    @property
    def unit_name(self) -> str:
        """What is hidden, in words."""
        return "one example" if self.column is None else f"all examples of one {self.column!r}"

    def settles(self, job: Any) -> Mapping[str, Any]:
        """Return what of a job's `stop` depends on clients' validation data, which no rounds may be chosen by."""
        if getattr(job.data, "validation", None) is not None:
            return {}
        return {"stop": replace(job.stop, keep="last", patience=None)}

    def check_client(self, client: str, units: int, batch: int) -> None:
        """Raise SettingError unless a client has enough units for batches of this size, and for delta."""
        if units < batch:
            raise SettingError(
                f"{NAME}: client {client!r} has {units} units ({self.unit_name} each) to train on, and a step draws {batch} on average "
                "(batch_size times accumulate); choose a smaller batch_size, or clients.min_examples"
            )
        if self.delta >= 1 / units:
            raise SettingError(
                f"{NAME}: delta is {self.delta:g}, and must be below 1 / {units} units of client {client!r}: else giving one away whole would be allowed"
            )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The steps of one client: how its units are drawn, and with how much noise."""

    settings: DpSgd
    units: int  # that it has
    batch: int  # units in a step, on average
    steps: int  # in a round
    rounds: int  # planned

    @property
    def rate(self) -> float:
        """The probability with which a step draws each unit: batch / units, rounded up to two digits."""
        share = self.batch / self.units
        digits = 1 - math.floor(math.log10(share))
        return float(min(1.0, math.ceil(share * 10.0**digits - 1e-9) / 10.0**digits))

    @property
    def divisor(self) -> float:
        """The number of units that a step draws on average: a constant, whatever it draws."""
        return self.rate * self.units

    @cached_property
    def noise_multiplier(self) -> float:
        """The standard deviation of the noise on the sum of a step, in clips.

        Raises:
            SettingError: if no noise keeps the planned rounds within epsilon.
        """
        given, epsilon = self.settings.noise_multiplier, self.settings.epsilon
        if given is not None:
            return given
        assert epsilon is not None  # DpSgd has seen to it
        try:
            return noise_for(epsilon, self.settings.delta, rate=self.rate, rounds=self.steps * self.rounds)
        except ValueError as fault:
            raise SettingError(f"{NAME}: {fault}; take a larger epsilon, or fewer rounds") from None

    def ratio(self, values: int) -> float:
        """Return the norm of all noise of a run over that of its signal, if each step's units had gradients as long as the clip, all alike.

        Args:
            values: weights under training.
        """
        return self.noise_multiplier * math.sqrt(values / (self.steps * self.rounds)) / self.divisor
