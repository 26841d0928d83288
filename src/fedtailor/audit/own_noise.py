"""Whether our own noise is as large as the job says: an audit of the mechanism, with the attacker's hands in it.

One release of the job's mechanism with a canary as long as the clip, and one without, many times; a canary is found by its direction. From the errors of the best threshold
on held-out releases follows a bound: epsilon is at least log((1 - delta - b) / a) with a and b upper ends of the 95 % intervals of false alarms and misses (Kairouz et al.,
2015, arXiv:1311.0776; Clopper and Pearson, 1934). With enough releases it comes near what is promised, and above that something is wrong.
The norm of a release without a canary must be that of the noise: a divisor that depends on who came, or noise of another size, shows there.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..interfaces import Plan
from ..learning.private.client import PrivateClient
from ..learning.private.settings import Schedule
from ..privacy.accountant import gaussian_epsilon
from ..protection.dp import Dp
from ..records import Update
from .finding import Finding
from .opened import Opened

NAME = "own noise"
RELEASES, WIDTH = 1_500, 400  # of each kind; values of a release
CONFIDENCE = 0.95

Floats = NDArray[np.float64]
Release = Callable[[bool], Floats]  # with the canary or without it -> what is released, over the clip


def own_noise(run: Opened) -> Iterator[Finding]:
    """Yield, for each mechanism of the job, what was promised for one release and what an attacker can show."""
    for name, release, noise_multiplier, divisor in mechanisms(run):
        yield from check(name, release, noise_multiplier, divisor)


def mechanisms(run: Opened) -> Iterator[tuple[str, Release, float, float]]:
    """Yield the job's mechanisms: a name, one release of it, its noise multiplier, and its divisor."""
    for part in run.job.protection:
        if isinstance(part, Dp) and part.noise == "server" and part.clip != "adaptive" and run.parts.plan is not None:
            plan = run.parts.plan
            yield "protection: dp", release_of_sum(part, plan), part.multiplier(plan), plan.expected
    clients: Sequence[PrivateClient] = [state.private for state in run.parts.states.values() if state.private is not None]
    if clients:
        worst = min(clients, key=lambda client: client.schedule.units)
        schedule = worst.schedule
        yield f"dp-sgd of {worst.id}", release_of_step(schedule), schedule.noise_multiplier, schedule.divisor


def release_of_sum(part: Dp, plan: Plan) -> Release:
    """Return a release of a round's sum of clients, of whom all but one send nothing."""
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
    """Return a bound that epsilon exceeds with 95 % confidence; thresholds are chosen on the first half, and judged on the second."""
    half = len(with_it) // 2
    best, bound = None, 0.0
    for threshold in np.quantile(np.concatenate([with_it[:half], without[:half]]), np.linspace(0.01, 0.99, 99)).tolist():
        found = _epsilon(with_it[:half], without[:half], threshold, delta)
        if best is None or found > bound:
            best, bound = threshold, found
    assert best is not None
    return _epsilon(with_it[half:], without[half:], best, delta)


def _epsilon(with_it: Floats, without: Floats, threshold: float, delta: float) -> float:
    alarms, misses = (
        _upper(int((without > threshold).sum()), len(without)),
        _upper(int((with_it <= threshold).sum()), len(with_it)),
    )
    return max(0.0, *(math.log((1 - delta - b) / a) for a, b in ((alarms, misses), (misses, alarms)) if 1 - delta - b > 0))


def _upper(found: int, count: int) -> float:
    """Return the upper end of the interval of a share, of Clopper and Pearson, one-sided."""
    from scipy.stats import beta

    return 1.0 if found >= count else float(beta.ppf(1 - (1 - CONFIDENCE) / 2, found + 1, count - found))


def _canary() -> torch.Tensor:
    """Return a direction of length 1."""
    drawn = torch.randn(WIDTH, generator=torch.Generator().manual_seed(1))
    unit: torch.Tensor = drawn / drawn.norm()
    return unit
