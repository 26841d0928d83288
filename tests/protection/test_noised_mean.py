"""Clipped sums with noise over a constant: numbers by hand, and the noise by its moments."""

import math

import numpy as np
import pytest
import torch
from foreseen import Foreseen

from fedtailor.aggregation import FedAvg, FedAvgM, FfaLora, RoLora
from fedtailor.errors import RunError, SettingError
from fedtailor.interfaces import traits_of
from fedtailor.privacy.noise import LATTICE, coin, lattice_noise, on_lattice
from fedtailor.protection.noised_mean import CLIP, Adaptive, NoisedMean
from fedtailor.records import Update

ALMOST_NONE = 1e-9  # rounds to none on the lattice


def mean_of(**settings):
    defaults = {"inner": FedAvg(), "clip": 1.0, "adaptive": None, "noise_multiplier": ALMOST_NONE, "divisor": 4.0, "least": 0}
    return NoisedMean(**{**defaults, "source": Foreseen(), **settings})


def update(*values, weight=1.0, client="a"):
    return Update(client=client, version=0, delta={"w": torch.tensor(values)}, weight=weight)


def step(rule, updates, state=None):
    params = {"w": torch.zeros(2)}
    return rule.combine(updates, params, rule.init(params) if state is None else state)


def test_long_updates_are_clipped_over_all_tensors_and_short_ones_are_not():
    """(3, 4) and a 12 in another tensor are 13 long: clipped to 1, (3, 4, 12) / 13; (0.1, 0) stays; the sum is divided by 4."""
    long = Update(client="a", version=0, delta={"v": torch.tensor([12.0]), "w": torch.tensor([3.0, 4.0])}, weight=7.0)
    short = Update(client="b", version=0, delta={"v": torch.zeros(1), "w": torch.tensor([0.1, 0.0])}, weight=900.0)
    rule, params = mean_of(), {"v": torch.zeros(1), "w": torch.zeros(2)}
    shared = rule.combine([long, short], params, rule.init(params)).shared
    assert shared["v"].tolist() == pytest.approx([12 / 13 / 4], abs=1e-6)
    assert shared["w"].tolist() == pytest.approx([(3 / 13 + 0.1) / 4, 4 / 13 / 4], abs=1e-6)


def test_the_divisor_is_the_same_however_many_answer():
    assert step(mean_of(), [update(0.5, 0.0)]).shared["w"].tolist() == pytest.approx([0.125, 0.0], abs=1e-6)
    assert step(mean_of(), []).shared["w"].tolist() == [0.0, 0.0]


def test_a_round_without_answers_steps_by_the_noise_alone():
    noised = step(mean_of(noise_multiplier=1.0), []).shared["w"]
    assert (noised != 0).all()
    assert traits_of(mean_of()).any_answers
    assert not traits_of(FedAvg()).any_answers


def test_noise_has_the_deviation_that_is_accounted_for():
    """Of 100,000 values the deviation is known to 0.22 %, one part in 1 / sqrt(2 n): four of these are allowed; z S / divisor = 1.5 * 2 / 4."""
    rule, params = mean_of(noise_multiplier=1.5, clip=2.0), {"w": torch.zeros(100_000)}
    drawn = rule.combine([], params, rule.init(params)).shared["w"].double()
    assert float(drawn.std()) == pytest.approx(0.75, rel=0.01)
    assert abs(float(drawn.mean())) < 4 * 0.75 / math.sqrt(100_000)
    assert float((drawn.abs() > 0.75 * 1.96).double().mean()) == pytest.approx(0.05, abs=0.004)
    steps = drawn / (2.0 * LATTICE / 4)
    assert (steps - steps.round()).abs().max() < 0.2  # float32 of points of the lattice


def test_rounding_onto_the_lattice_makes_no_vector_longer():
    values = np.random.default_rng(0).normal(size=(200, 50))
    rounded = on_lattice(values, 0.01) * 0.01
    assert (np.linalg.norm(rounded, axis=1) <= np.linalg.norm(values, axis=1)).all()
    assert np.abs(rounded - values).max() <= 0.01


def test_each_draw_of_the_system_is_another():
    from fedtailor.privacy.noise import system_bytes

    assert (lattice_noise(100, 1000.0, system_bytes) != lattice_noise(100, 1000.0, system_bytes)).any()
    assert len(lattice_noise(0, 1.0, system_bytes)) == 0


def test_a_coin_falls_as_often_as_it_should():
    source = Foreseen()
    assert all(coin(1.0, source) for _ in range(50))
    assert sum(coin(0.2, source) for _ in range(5000)) / 5000 == pytest.approx(0.2, abs=0.025)  # four deviations


def test_an_adaptive_clip_follows_the_median():
    """Three of four updates are longer than 0.5: the sum of -1/2, -1/2, -1/2, 1/2 is -1, the share 1/2 - 1/4 without noise, so S exp(-0.2 (-1/4))."""
    rule = mean_of(clip=None, adaptive=Adaptive(start=0.5, deviation=1e-12))
    updates = [update(size, 0.0, client=str(size)) for size in (0.6, 0.7, 0.8, 0.1)]
    found = step(rule, updates)
    assert float(found.state[CLIP]) == pytest.approx(0.5 * math.exp(0.05))
    assert found.figures["clip_norm"] == 0.5
    assert found.shared["w"].tolist() == pytest.approx([(3 * 0.5 + 0.1) / 4, 0.0], abs=1e-6)
    again = step(rule, updates, found.state)
    assert again.figures["clip_norm"] == pytest.approx(0.5 * math.exp(0.05))


def test_the_rule_behind_it_continues_and_keeps_its_own_state():
    """Momentum 0.5: 1 / 4, then half of that and 1 / 4 again, so 0.25 and 0.375 more."""
    rule = mean_of(inner=FedAvgM(momentum=0.5), clip=None, adaptive=Adaptive(start=1.0, deviation=1e-12))
    first = step(rule, [update(1.0, 0.0)])
    second = rule.combine([update(1.0, 0.0)], first.shared, {**first.state, CLIP: torch.tensor(1.0)})
    assert (first.shared["w"][0].item(), second.shared["w"][0].item()) == pytest.approx((0.25, 0.625), abs=1e-5)


def test_too_few_shares_of_the_noise_end_the_round():
    with pytest.raises(RunError, match="1 clients answered, and their shares of the noise are enough from 2 on"):
        step(mean_of(noise_multiplier=None, least=2), [update(1.0, 0.0)])


def test_a_rule_that_trains_other_tensors_in_each_round_is_refused():
    params = {"m.lora_A.weight": torch.zeros(1, 2), "m.lora_B.weight": torch.zeros(2, 1)}
    mean_of(inner=FfaLora()).init(params)
    with pytest.raises(SettingError, match="rolora, which trains other tensors in each round"):
        mean_of(inner=RoLora()).init(params)
