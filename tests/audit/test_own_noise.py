"""An attacker with its hands in the mechanism comes near what is promised, and shows each planted fault."""

import numpy as np
import pytest
import scipy.special
from foreseen import foresee

from fedtailor.audit.own_noise import check, lower_bound, release_of_step, release_of_sum
from fedtailor.interfaces import Plan
from fedtailor.learning.private import DpSgd
from fedtailor.learning.private.settings import Schedule
from fedtailor.privacy.accountant import gaussian_epsilon
from fedtailor.protection import Dp
from fedtailor.protection.noised_mean import NoisedMean

PLAN = Plan(clients=20, rate=1.0, rounds=1, values=400)
PROMISED = gaussian_epsilon(1.0, 1e-5)  # 4.38
SCHEDULE = Schedule(settings=DpSgd(noise_multiplier=1.0, epsilon=None, clip=0.5), units=100, batch=10, steps=1, rounds=1)


@pytest.fixture(autouse=True)
def _same_draws(monkeypatch):
    foresee(monkeypatch)


def dp(**settings):
    return Dp(epsilon=None, clip=0.5, **{"noise_multiplier": 1.0, **settings})


def found(release, divisor=20.0, noise_multiplier=1.0, releases=1_500):
    bound, spread = check("it", release, noise_multiplier, divisor, releases=releases)
    return bound, spread


def test_the_sum_of_clients_has_the_noise_that_is_promised():
    bound, spread = found(release_of_sum(dp(), PLAN))
    assert bound.floor == pytest.approx(4.38, abs=0.01)
    assert 3.0 <= bound.value <= PROMISED
    assert spread.value == pytest.approx(1.0, rel=0.02)
    assert spread.note.startswith("as promised")


def test_a_step_of_dp_sgd_has_the_noise_that_is_promised():
    bound, spread = found(release_of_step(SCHEDULE), divisor=SCHEDULE.divisor)
    assert 3.0 <= bound.value <= PROMISED
    assert spread.value == pytest.approx(1.0, rel=0.02)


def known(count, deviation, source):
    """Return noise that everybody can repeat."""
    return np.rint(np.random.default_rng(0).normal(size=count) * deviation).astype(np.int64)


def patched(monkeypatch, name, value):
    monkeypatch.setattr(f"fedtailor.protection.noised_mean.{name}", value)
    return release_of_sum(dp(), PLAN)


def weighted(monkeypatch):
    kept = NoisedMean._mean
    return patched(monkeypatch, "NoisedMean._mean", lambda self, total, step: kept(self, total * 4, step))


def by_those_who_came(monkeypatch):
    right = release_of_sum(dp(), PLAN)
    return lambda canary: right(canary) * (20.0 / (2 if canary else 1))


FAULTS = {
    "half the noise": lambda patch: release_of_sum(dp(noise_multiplier=0.5), PLAN),
    "shares of half are missing": lambda patch: release_of_sum(dp(noise_multiplier=0.5**0.5), PLAN),
    "not clipped": lambda patch: patched(patch, "norm", lambda tensors: 0.0),
    "clipped by halves": lambda patch: patched(patch, "norm", lambda tensors: float(tensors["w"].norm()) / 2**0.5),
    "weighted by examples": weighted,
    "noise from the seed of the job": lambda patch: patched(patch, "lattice_noise", known),
    "divided by those who came": by_those_who_came,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_seen(fault, monkeypatch):
    bound, spread = found(FAULTS[fault](monkeypatch), releases=600)
    assert bound.value > PROMISED or spread.note == "NOT as promised"


def test_a_bound_by_hand():
    # standard normal values, shifted by 1: mu 1 less 1.645 sqrt(2 / 1000 + 1 / 4000) is 0.922
    values = np.sqrt(2) * scipy.special.erfinv(np.linspace(-0.999, 0.999, 1000))
    values /= values.std(ddof=1)
    assert lower_bound(values + 1, values, delta=1e-5) == pytest.approx(gaussian_epsilon(1 / 0.922, 1e-5), rel=1e-3)
    assert lower_bound(values, values, delta=1e-5) == 0.0
    assert lower_bound(np.full(10, 1.0), np.zeros(10), delta=1e-5) == 300.0
