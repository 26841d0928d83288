"""Averages."""

import pytest
import torch

from fedtailor.aggregation import FedAvg, weighted_mean
from fedtailor.errors import EmptyRound, SettingError, ShapeMismatch
from fedtailor.records import Update


def update(value, weight, client="a"):
    return Update(client=client, version=0, delta={"w": torch.tensor([value])}, weight=weight)


def test_the_mean_is_weighted_and_added_to_what_was_shared():
    # 10 + (1 * 0.5 + 3 * 2.5) / 4 = 12
    rule = FedAvg()
    outcome = rule.combine(iter([update(0.5, 1), update(2.5, 3)]), {"w": torch.tensor([10.0])}, rule.init({}))
    assert outcome.shared["w"].item() == 12.0


def test_arguments_are_left_as_they_were():
    updates, shared = [update(0.5, 1), update(2.5, 3)], {"w": torch.tensor([10.0])}
    FedAvg().combine(updates, shared, {})
    assert [u.delta["w"].item() for u in updates] == [0.5, 2.5]
    assert shared["w"].item() == 10.0


def test_one_set_is_in_memory_at_a_time():
    alive = []

    def arriving():
        for _ in range(5):
            assert len(alive) <= 1, "an update is held while the next one arrives"
            tensor = torch.ones(1)
            alive.append(1)
            yield {"w": tensor}, 1.0
            alive.pop()

    assert weighted_mean(arriving())["w"].item() == 1.0


def test_bad_rounds_are_refused():
    with pytest.raises(EmptyRound):
        weighted_mean([])
    with pytest.raises(SettingError, match="weight"):
        weighted_mean([({"w": torch.ones(1)}, 0.0)])
    with pytest.raises(ShapeMismatch):
        weighted_mean([({"w": torch.ones(1)}, 1.0), ({"v": torch.ones(1)}, 1.0)])
