"""How well members are told from others."""

import numpy as np
import pytest

from fedtailor.audit.membership import _blind, auc, rate_at


def test_the_area_by_hand():
    # pairs (member, other): (3, 2) and (3, 1) right, (1, 2) wrong, (1, 1) half: 2.5 of 4
    assert auc(np.array([3.0, 1.0]), np.array([2.0, 1.0])) == 0.625
    assert auc(np.array([1.0]), np.array([1.0, 1.0])) == 0.5


def test_the_rate_counts_members_above_what_few_others_exceed():
    others = np.arange(100.0)  # at 1 %: one may exceed, so the threshold is 98
    assert rate_at(np.array([98.0, 98.5, 120.0, 5.0]), others, 0.01) == 0.5


def test_words_alone_distinguish_groups_that_differ_and_no_others():
    draw = np.random.default_rng(0)
    same = [" ".join(f"word{number}" for number in draw.integers(50, size=6)) for _ in range(800)]
    assert auc(*_blind(same[:400], same[400:])) == pytest.approx(0.5, abs=0.08)
    assert auc(*_blind([f"river {text}" for text in same[:400]], same[400:])) > 0.99
