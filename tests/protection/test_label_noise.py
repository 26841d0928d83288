"""Noise on counts: its distribution, and that counts stay counts."""

import math
import random
from collections import Counter

import pytest

from fedtailor.protection.label_noise import noised_counts


def test_noise_is_two_sided_geometric():
    # P(z) = (1 - a) / (1 + a) a^|z|, a = e^-1: P(0) = 0.4621, P(1) = P(-1) = 0.1700
    found = Counter(noised_counts([1000] * 40_000, 1.0, random.Random(0)))
    a = math.exp(-1)
    for z in (-2, -1, 0, 1, 2):
        assert found[1000 + z] / 40_000 == pytest.approx((1 - a) / (1 + a) * a ** abs(z), abs=0.01)


def test_counts_are_never_below_zero_and_little_noise_leaves_them():
    assert min(noised_counts([0] * 500, 0.5, random.Random(1))) == 0
    assert noised_counts([3, 0, 9], 50.0, random.Random(2)) == [3, 0, 9]
