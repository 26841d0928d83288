"""A client's steps and what it writes down before them."""

import json

import numpy as np
import pytest
import torch
from foreseen import foresee
from torch import nn

from fedtailor.errors import ResumeError, SettingError
from fedtailor.learning.private import DpSgd, UnitColumn
from fedtailor.learning.private.client import BudgetSpent, PrivateClient, drawn, units_of
from fedtailor.learning.private.settings import Schedule
from fedtailor.privacy import noise
from fedtailor.privacy.accountant import Release, epsilon_of


class Rows:
    """A shard of so many rows, one target each."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count


def client(tmp_path=None, *, units, rows=None, **settings):
    schedule = Schedule(settings=DpSgd(**settings), units=len(units), batch=rows or len(units), steps=2, rounds=3)
    return PrivateClient(
        id="north",
        schedule=schedule,
        units=units,
        file=None if tmp_path is None else tmp_path / "clients" / "north" / "privacy.json",
    )


def a_line(x_NI):
    """Return a linear layer of zeros and its loss on rows: half the squared distance to (1, 1)."""
    layer = nn.Linear(x_NI.shape[1], 2)
    nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)

    def loss_of(rows):
        return 0.5 * (layer(x_NI[rows]) - 1).square().sum(), 0, len(rows)

    return layer, loss_of


def test_a_step_is_the_clipped_sum_over_a_constant():
    # gradients of bias and weight of row x: -(1, 1) and -(1, 1) x^T; norm sqrt(2 (1 + |x|^2)): 2 for |x| = 1, sqrt(2) for 0
    layer, loss_of = a_line(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    one = client(units=[[0], [1]], noise_multiplier=0.1, epsilon=None, clip=1.0)
    noise_free = one.steps(layer, Rows(2), dict(layer.named_parameters()), loss_of, 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise, "lattice_noise", lambda count, deviation, source: np.zeros(count, dtype=np.int64))
        assert noise_free() == pytest.approx(1.0)  # mean of 1/2 (1 + 1) over both
    torch.testing.assert_close(layer.bias.grad, torch.full((2,), -(1 / 2 + 1 / 2**0.5) / 2), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.weight.grad, torch.tensor([[-0.25, 0.0], [-0.25, 0.0]]), rtol=1e-5, atol=1e-5)


def test_noise_is_that_of_the_multiplier_and_comes_also_where_nothing_was_drawn(monkeypatch):
    foresee(monkeypatch)
    layer = nn.Linear(100, 100)
    one = client(units=[[row] for row in range(1000)], rows=10, noise_multiplier=2.0, epsilon=None, clip=0.5)
    monkeypatch.setattr("fedtailor.learning.private.client.drawn", lambda count, rate: [])
    one.steps(layer, Rows(1000), dict(layer.named_parameters()), None, 8)()
    found = torch.cat([layer.weight.grad.flatten(), layer.bias.grad])
    assert one.schedule.divisor == 10.0
    assert found.std().item() == pytest.approx(2.0 * 0.5 / 10, rel=0.03)
    assert abs(found.mean().item()) < 0.003


@pytest.mark.parametrize("people", [1, 5])
def test_neighbours_that_differ_by_a_person_of_thirty_rows_differ_by_the_clip_at_most(people, monkeypatch):
    monkeypatch.setattr(noise, "lattice_noise", lambda count, deviation, source: np.zeros(count, dtype=np.int64))
    x = torch.randn(30 * people, 4, generator=torch.Generator().manual_seed(people)) * 100
    sums = []
    for count in (people - 1, people):
        layer, loss_of = a_line(x)
        units, left = units_of([row // 30 for row in range(30 * count)], 30 * count, most_rows=30)
        assert (len(units), left) == (count, 0)
        one = client(units=units or [[0]], noise_multiplier=1.0, epsilon=None, clip=0.7)
        monkeypatch.setattr("fedtailor.learning.private.client.drawn", lambda n, rate, count=count: list(range(count)))
        one.steps(layer, Rows(30 * people), dict(layer.named_parameters()), loss_of, 8)()
        sums.append(torch.cat([p.grad.flatten() for p in layer.parameters()]) * one.schedule.divisor)
    assert (sums[1] - sums[0]).norm().item() <= 0.7 * (1 + 1e-5)
    assert (sums[1] - sums[0]).norm().item() == pytest.approx(0.7, rel=1e-3)  # such long ones are clipped


def test_units_keep_their_first_rows_and_say_how_many_are_left_out():
    assert units_of(["a", "b", "a", "a", "b"], 5, most_rows=2) == ([[0, 2], [1, 4]], 1)
    assert units_of(None, 3, most_rows=2) == ([[0], [1], [2]], 0)


def test_every_unit_has_a_coin_of_its_own(monkeypatch):
    foresee(monkeypatch)
    counts = [len(drawn(1000, 0.05)) for _ in range(200)]
    assert np.mean(counts) == pytest.approx(50, abs=2)
    assert np.var(counts) == pytest.approx(47.5, rel=0.3)  # of a binomial draw; a fixed size would have none
    assert drawn(5, 1.0) == [0, 1, 2, 3, 4]


def test_rates_are_rounded_up_to_two_digits_and_the_divisor_follows():
    found = Schedule(settings=DpSgd(), units=900, batch=8, steps=1, rounds=1)
    assert (found.rate, found.divisor) == (0.0089, pytest.approx(8.01))
    assert Schedule(settings=DpSgd(), units=8, batch=8, steps=1, rounds=1).rate == 1.0


def test_rounds_are_on_disk_before_they_begin_and_an_interrupted_one_counts_twice(tmp_path):
    settings = {"units": [[row] for row in range(100)], "rows": 10, "noise_multiplier": 1.0, "epsilon": None}
    first = client(tmp_path, **settings)
    first.begin()
    assert json.loads((tmp_path / "clients" / "north" / "privacy.json").read_text())["releases"] == [
        {"noise_multiplier": 1.0, "rate": 0.1, "count": 2}
    ]
    again = client(tmp_path, **settings)
    again.begin()  # the same round, after an interruption
    assert again.budget.epsilon() == epsilon_of([Release(noise_multiplier=1.0, rate=0.1, count=4)], 1e-5)


def test_a_round_beyond_the_budget_is_not_begun_and_the_planned_ones_are(tmp_path):
    one = client(tmp_path, units=[[row] for row in range(100)], rows=10, epsilon=4.0)
    for _ in range(3):  # as planned
        one.begin()
    before = (tmp_path / "clients" / "north" / "privacy.json").read_text()
    with pytest.raises(BudgetSpent, match=r"client 'north' has spent its privacy budget: epsilon 4 of 4"):
        one.begin()
    assert (tmp_path / "clients" / "north" / "privacy.json").read_text() == before
    (tmp_path / "clients" / "north" / "privacy.json").write_text("{")
    with pytest.raises(ResumeError, match="not known"):
        client(tmp_path, units=[[0], [1]], epsilon=4.0).begin()


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"epsilon": 0}, "epsilon is a number above 0"),
        ({"epsilon": None}, "give one of them"),
        ({"delta": 0}, "delta is a probability"),
        ({"clip": float("nan")}, "clip is the largest norm"),
        ({"noise_multiplier": 0.0}, "noise_multiplier is a number of clips"),
        ({"most_rows": 0}, "most_rows is a number of examples"),
    ],
)
def test_settings_that_promise_nothing_are_refused(settings, found):
    with pytest.raises(SettingError, match=found):
        DpSgd(**settings)


def test_clients_that_are_too_small_are_named():
    with pytest.raises(SettingError, match=r"client 'south' has 5 units .* and a step draws 8"):
        DpSgd().check_client("south", 5, 8)
    with pytest.raises(SettingError, match=r"must be below 1 / 200 units"):
        DpSgd(delta=0.01).check_client("south", 200, 8)
    with pytest.raises(SettingError, match="empty text"):
        UnitColumn(column=" ")
