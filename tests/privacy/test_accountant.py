"""Epsilon held against another implementation, closed forms and bounds."""

import math

import pytest
from scipy.special import gammaln, logsumexp

from fedtailor.privacy.accountant import COARSE, Release, epsilon_of, gaussian_epsilon, noise_for


def spent(noise_multiplier, rate, count, delta=1e-5, **settings):
    return epsilon_of([Release(noise_multiplier=noise_multiplier, rate=rate, count=count)], delta, **settings)


@pytest.mark.parametrize(
    ("noise_multiplier", "rate", "count", "known"),
    [  # of dp-accounting 0.6.0, PLDAccountant with value_discretization_interval=1e-4, delta 1e-5
        (1.168, 0.02, 100, 0.99025),
        (0.94, 0.1, 100, 7.93269),
        (2.68, 1, 20, 8.01554),
        (1.0, 0.01, 1000, 1.82824),
        (4.52, 0.1, 1000, 2.98172),
        (0.5, 0.02, 20, 6.43751),
        (1.0, 1, 1, 4.37718),
    ],
)
def test_epsilon_is_that_of_another_implementation(noise_multiplier, rate, count, known):
    assert known - 1e-5 <= spent(noise_multiplier, rate, count) <= known * 1.0002


def test_one_release_of_everybody_has_the_closed_form():
    """Phi(1/2 - e) - exp(e) Phi(-1/2 - e) at e = 1: Phi(-0.5) = 0.308538, Phi(-1.5) = 0.066807, so delta is 0.126937."""
    assert gaussian_epsilon(1.0, 0.308538 - math.e * 0.066807) == pytest.approx(1.0, abs=1e-4)
    assert spent(2.0, 1, 4) == pytest.approx(gaussian_epsilon(1.0, 1e-5))  # four at 2 are one at 2 / sqrt(4)
    assert spent(1.0, 0.9999999, 1) == pytest.approx(gaussian_epsilon(1.0, 1e-5), rel=1e-3)  # by the grid


def renyi(noise_multiplier, rate, count, delta=1e-5):
    """Return the epsilon by Renyi orders 2, 3, ...: Mironov, Talwar and Zhang, 2019, arXiv:1908.10530, section 3.3, and their conversion as
    Canonne, Kamath and Steinke, 2020, arXiv:2004.00010, proposition 12, have it."""
    found = []
    for order in range(2, 200):
        terms = [
            gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1) + (order - k) * math.log1p(-rate)
            + k * math.log(rate) + k * (k - 1) / (2 * noise_multiplier**2)
            for k in range(order + 1)
        ]  # fmt: skip
        divergence = count * logsumexp(terms) / (order - 1)
        found.append(divergence + math.log1p(-1 / order) - math.log(delta * order) / (order - 1))
    return min(found)


@pytest.mark.parametrize("setting", [(1.168, 0.02, 100), (0.94, 0.1, 100), (4.52, 0.1, 1000), (1.1, 256 / 60000, 14062)])
def test_epsilon_stays_below_that_by_renyi_orders_and_not_far(setting):
    bound = renyi(*setting)
    assert 0.7 * bound < spent(*setting, step=COARSE) < bound


def test_a_coarser_grid_never_promises_more():
    assert spent(1.0, 0.05, 50) <= spent(1.0, 0.05, 50, step=COARSE) <= 1.01 * spent(1.0, 0.05, 50)


def test_releases_add_up_in_any_order_and_of_any_kind():
    one, two = Release(noise_multiplier=1.0, rate=0.1, count=10), Release(noise_multiplier=2.0, rate=0.5, count=3)
    halves = [Release(noise_multiplier=1.0, rate=0.1, count=4), two, Release(noise_multiplier=1.0, rate=0.1, count=6)]
    assert epsilon_of(halves, 1e-5) == epsilon_of([two, one], 1e-5) > max(epsilon_of([one], 1e-5), epsilon_of([two], 1e-5))
    assert epsilon_of([], 1e-5) == 0.0


def test_what_is_hardly_noised_is_infinite():
    assert spent(0.1, 0.5, 1000) == math.inf


@pytest.mark.parametrize(("epsilon", "rate", "rounds"), [(8, 0.1, 100), (1, 1, 50), (3, 0.02, 20)])
def test_the_noise_for_a_budget_is_the_least(epsilon, rate, rounds):
    found = noise_for(epsilon, 1e-5, rate=rate, rounds=rounds)
    assert 0.995 * epsilon < spent(found, rate, rounds) <= epsilon < spent(found * 0.99, rate, rounds)
