"""The mean of all clients' weights under partial participation."""

import pytest
import torch

from fedtailor.aggregation import RunningMean
from fedtailor.errors import EmptyRound, SettingError
from fedtailor.personalization.fedalt import rest_of_world
from fedtailor.records import Update


def update(client, value, weight=1.0):
    return Update(client=client, version=0, delta={"a": torch.tensor([value])}, weight=weight)


def test_two_rounds_by_hand():
    # four clients at 1; a: +4, c: +8 -> (5 + 1 + 9 + 1) / 4 = 4; then b: -2 -> (5 - 1 + 9 + 1) / 4 = 3.5; weights change nothing
    rule, start = RunningMean(clients=4), {"a": torch.ones(1)}
    first = rule.combine([update("a", 4.0, weight=7), update("c", 8.0)], start, {})
    second = rule.combine([update("b", -2.0)], first.shared, first.state)
    assert (first.shared["a"].item(), second.shared["a"].item()) == (4.0, 3.5)
    assert start["a"].item() == 1.0
    # what a client sees of the others: a has 5, the others -1, 9 and 1, so 3
    assert rest_of_world(second.shared["a"], torch.tensor([5.0]), 4).item() == 3.0


def test_with_all_clients_it_is_their_mean():
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(5, 3, generator=generator)
    mean = {"a": torch.zeros(3)}
    last = torch.zeros(5, 3)
    for asked in ([0, 2], [1], [0, 1, 2, 3, 4], [3, 4]):
        new = last.clone()
        new[asked] += own[asked]
        deltas = [Update(client=str(k), version=0, delta={"a": new[k] - last[k]}, weight=1.0) for k in asked]
        mean = RunningMean(clients=5).combine(deltas, mean, {}).shared
        last = new
        torch.testing.assert_close(mean["a"], last.mean(0))
        for k in range(5):
            others = torch.cat([last[:k], last[k + 1 :]]).mean(0)
            torch.testing.assert_close(rest_of_world(mean["a"], last[k], 5), others)


def test_nobody_and_no_clients_are_refused():
    with pytest.raises(EmptyRound):
        RunningMean(clients=2).combine([], {"a": torch.zeros(1)}, {})
    with pytest.raises(SettingError, match="at least 1"):
        RunningMean(clients=0)
