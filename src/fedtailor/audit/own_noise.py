"""Whether our own noise is as large as the job says: an audit of the mechanism, by an attacker who has access to it.

One release of the job's mechanism with a canary as long as the clip (or longer, which the clip must see to), and one without, many times; a canary is found by its direction. From the
distance mu of both in standard deviations, less its error, follows a bound on epsilon: that of Gaussian noise with sensitivity mu (Nasr et al., 2023, arXiv:2302.07956; Balle and Wang, 2018). With enough
releases it comes near what is promised, and above that something is wrong. The norm of a release without a canary must be that of the noise: a divisor that depends on who came, or noise of another
size, shows there.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..interfaces import Plan
from ..learning.private.client import PrivateClient
from ..learning.private.settings import Schedule
from ..privacy.accountant import gaussian_epsilon
from ..records import Update
from .finding import Finding
from .opened import Opened

NAME = "own noise"
RELEASES, WIDTH = 1_500, 400  # of each kind; values of a release
CONFIDENCE, QUANTILE = 0.95, 1.645  # one-sided
LARGEST, MOST_EPSILON = 20.0, 300.0  # distance in standard deviations from which on nothing is hidden, and what is said of it

Floats = NDArray[np.float64]
Release = Callable[[bool], Floats]  # with the canary or without it -> what is released, over the clip


def own_noise(run: Opened) -> Iterator[Finding]:
    """Yield, for each mechanism of the job, what was promised for one release and what an attacker can show."""
    for name, release, noise_multiplier, divisor in mechanisms(run):
        yield from check(name, release, noise_multiplier, divisor)


def mechanisms(run: Opened) -> Iterator[tuple[str, Release, float, float]]:
    """Yield the job's mechanisms: a name, one release of it, its noise multiplier, and its divisor."""
    parts: Sequence[Any] = run.job.protection
    for part in parts:
        plan = run.parts.plan
        if getattr(part, "kind", "") == "dp" and part.noise == "server" and part.clip != "adaptive" and plan is not None:
            yield "protection: dp", release_of_sum(part, plan), part.multiplier(plan), plan.expected
    clients: Sequence[PrivateClient] = [*run.parts.clients.private.values()]
    if clients:
        worst = min(clients, key=lambda client: client.schedule.units)
        schedule = worst.schedule
        yield f"dp-sgd of {worst.id}", release_of_step(schedule), schedule.noise_multiplier, schedule.divisor


def release_of_sum(part: Any, plan: Plan) -> Release:
    """Return a release of a round's sum of clients under `dp`, of whom all but one send nothing."""
    from ..aggregation import FedAvg

    rule = part.on_sum(FedAvg(), plan)
    zero = {"w": torch.zeros(WIDTH)}
    clip = float(part.clip)

    def release(canary: bool) -> Floats:
        delta = {"w": _canary() * (3 * clip)}  # longer than the clip, which must shorten it
        sent = [Update(client="canary", version=0, delta=delta, weight=1.0)] if canary else []
        others = [Update(client="other", version=0, delta=zero, weight=1.0)]
        found = rule.combine([*sent, *others], zero, rule.init(zero)).shared["w"]
        return np.asarray(found.double().numpy() / clip)

    return release


def release_of_step(schedule: Schedule) -> Release:
    """Return a release of one step's sum of clipped gradients, of which all but one are nothing."""
    from torch import nn

    client = PrivateClient(id="audit", schedule=schedule, units=[[0]], file=None)
    weight = nn.Parameter(torch.zeros(WIDTH))
    clip = float(schedule.settings.clip)

    def release(canary: bool) -> Floats:
        client.release({"w": weight}, {"w": _canary() * clip} if canary else {})
        assert weight.grad is not None
        return np.asarray(weight.grad.double().numpy() / clip)

    return release


def check(name: str, release: Release, noise_multiplier: float, divisor: float, *, releases: int = RELEASES) -> Iterator[Finding]:
    """Yield the lower bound on epsilon of one release, beside what is promised, and the norm of one without a canary, beside what it must be."""
    delta = 1e-5
    canary = np.asarray(_canary().double().numpy())
    with_it, without = ([release(there) for _ in range(releases)] for there in (True, False))
    scores = [np.array([float(each @ canary) for each in side]) * divisor for side in (with_it, without)]
    promised = gaussian_epsilon(noise_multiplier, delta)
    yield Finding(
        attack=NAME,
        target=name,
        figure=f"epsilon of one release, at least ({CONFIDENCE:.0%})",
        value=lower_bound(*scores, delta=delta),
        floor=promised,
        kind="check",
        note=f"promised: at most {promised:.3g} at delta {delta:g}, noise multiplier {noise_multiplier:.3g}",
    )
    spread = float(np.mean([np.linalg.norm(each) for each in without])) * divisor / math.sqrt(WIDTH)
    yield Finding(
        attack=NAME,
        target=name,
        figure="standard deviation of the noise, in clips",
        value=spread,
        floor=noise_multiplier,
        kind="check",
        note="as promised, within 3 %" if abs(spread / noise_multiplier - 1) < 0.03 else "NOT as promised",
    )


def lower_bound(with_it: Floats, without: Floats, *, delta: float) -> float:
    """Return a bound that epsilon exceeds with 95 % confidence, if the noise is Gaussian: that of the least distance mu in standard deviations.

    The error of mu is sqrt(1 / n + 1 / m + mu^2 / (2 (n + m))).
    """
    spread = math.sqrt((float(with_it.var(ddof=1)) + float(without.var(ddof=1))) / 2)
    apart = abs(float(with_it.mean() - without.mean()))
    if apart > LARGEST * spread:
        return MOST_EPSILON
    mu = apart / spread if spread else 0.0
    error = math.sqrt(1 / len(with_it) + 1 / len(without) + mu**2 / (2 * (len(with_it) + len(without))))
    least = mu - QUANTILE * error
    return gaussian_epsilon(1 / least, delta) if least > 1e-3 else 0.0


def _canary() -> torch.Tensor:
    """Return a direction of length 1."""
    drawn = torch.randn(WIDTH, generator=torch.Generator().manual_seed(1))
    unit: torch.Tensor = drawn / drawn.norm()
    return unit
