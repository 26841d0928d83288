"""Settings of local training."""

import pytest

from fedtailor.errors import SettingError
from fedtailor.learning.local import LocalTraining


def test_steps_of_a_round():
    # 20 examples in batches of 8: 3 batches; two to a step: 2 steps; 1.5 epochs of these: 3
    assert LocalTraining(batch_size=8).steps_per_round(20) == 3
    assert LocalTraining(batch_size=8, accumulate=2, epochs=1.5).steps_per_round(20) == 3
    assert LocalTraining(batch_size=8, steps=7).steps_per_round(20) == 7
    assert LocalTraining(batch_size=8, epochs=0.01).steps_per_round(20) == 1


def test_schedules_over_ten_rounds():
    linear, cosine = LocalTraining(schedule="linear"), LocalTraining(schedule="cosine")
    assert [round(linear.round_factor(r, 10), 3) for r in (1, 6, 10)] == [1.0, 0.5, 0.1]
    assert [round(cosine.round_factor(r, 10), 3) for r in (1, 6, 10)] == [1.0, 0.5, 0.024]
    assert LocalTraining(schedule="linear", schedule_rounds=20).round_factor(11, 10) == 0.5
    assert LocalTraining().round_factor(9, 10) == 1.0


def test_warmup_continues_over_rounds():
    settings = LocalTraining(warmup_steps=10)
    assert [settings.warmup_factor(1, s, 4) for s in (0, 3)] == [0.1, 0.4]
    assert [settings.warmup_factor(3, s, 4) for s in (0, 3)] == [0.9, 1.0]


@pytest.mark.parametrize(
    ("bad", "names"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"momentum": 0.9}, "momentum"),
        ({"clip_norm": 0}, "clip_norm"),
    ],
)
def test_bad_settings_are_named(bad, names):
    with pytest.raises(SettingError, match=names):
        LocalTraining(**bad)


@pytest.mark.parametrize(
    ("examples", "batch", "accumulate", "least"),
    [(16, 8, 1, 8), (17, 8, 1, 1), (5, 8, 1, 5), (17, 8, 2, 1), (24, 8, 2, 8), (20, 8, 3, 20), (28, 8, 2, 12), (0, 8, 1, 0)],
)
def test_the_fewest_examples_of_a_step_are_those_of_an_epochs_last_one(examples, batch, accumulate, least):
    local = LocalTraining(batch_size=batch, accumulate=accumulate)
    assert local.least_examples_a_step(examples) == least
