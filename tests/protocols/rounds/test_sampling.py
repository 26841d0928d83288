"""Which clients are asked."""

import pytest

from fedtailor.protocols.rounds.sampling import Sampler, at_least, clients_per_round
from fedtailor.records import ClientInfo

INFOS = [ClientInfo(id=f"c{i}", examples=10 * (i + 1)) for i in range(8)]


@pytest.mark.parametrize("select", ["uniform", "by-size", "stratified"])
def test_draws_repeat_differ_by_round_and_name_nobody_twice(select):
    sampler = Sampler(clients=INFOS, per_round=3, select=select, seed=1)
    rounds = [sampler.draw(r) for r in range(1, 30)]
    assert rounds == [sampler.draw(r) for r in range(1, 30)]
    assert all(len(set(ids)) == 3 and ids == sorted(ids) for ids in rounds)
    assert len({tuple(ids) for ids in rounds}) > 5
    assert {i for ids in rounds for i in ids} == {info.id for info in INFOS}


def test_by_size_asks_the_large_more_often():
    sampler = Sampler(clients=INFOS, per_round=1, select="by-size", seed=0)
    drawn = [sampler.draw(r)[0] for r in range(400)]
    assert drawn.count("c7") > 3 * drawn.count("c0")  # 8 times as large


def test_stratified_takes_one_of_each_size_class():
    sampler = Sampler(clients=INFOS, per_round=4, select="stratified", seed=0)
    for ids in (sampler.draw(r) for r in range(20)):
        assert sorted(int(i[1]) // 2 for i in ids) == [0, 1, 2, 3]


def test_how_many_are_asked():
    assert clients_per_round(10, fraction=0.25, per_round=None) == 2  # round half to even
    assert clients_per_round(10, fraction=0.01, per_round=None) == 1
    assert clients_per_round(10, fraction=1.0, per_round=4) == 4
    assert clients_per_round(3, fraction=1.0, per_round=4) == 3


@pytest.mark.parametrize(
    ("share", "count", "fewest"), [(0.55, 20, 11), (0.5, 3, 2), (1.0, 7, 7), (0.07, 100, 7), (1e-3, 10, 1), (1, 4, 4)]
)
def test_a_share_is_what_is_written(share, count, fewest):
    assert at_least(share, count) == fewest
