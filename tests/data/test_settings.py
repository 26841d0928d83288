import pytest

from fedtailor.data import PARTITIONS, Clients, Data
from fedtailor.data.partition import Dirichlet, Quantity, Shards, Skew, Topic
from fedtailor.errors import SettingError


def test_defaults_are_valid():
    assert Data().train == "docstrings"
    assert Clients().partition.kind == "iid"
    assert Data().packages == ("torch", "transformers", "numpy", "pandas", "scipy", "sklearn")


def test_every_partition_is_named_by_its_kind():
    assert sorted(PARTITIONS) == ["dirichlet", "files", "iid", "natural", "quantity", "shards", "skew", "topic"]
    assert all(technique().kind == kind for kind, technique in PARTITIONS.items())


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Clients(count=0), "count"),
        (lambda: Clients(count=True), "count"),
        (lambda: Clients(count=2, per_round=3), "per_round"),
        (lambda: Clients(fraction=0.0), "fraction"),
        (lambda: Clients(fraction=1.5), "fraction"),
        (lambda: Clients(select="best"), "select"),
        (lambda: Clients(min_examples=0), "min_examples"),
        (lambda: Clients(test_share=1.0), "test_share"),
        (lambda: Clients(test_share=0.5, validation_share=0.5), "validation_share"),
        (lambda: Data(train=None), "train"),
        (lambda: Data(train=[]), "train"),
        (lambda: Data(test="docstrings"), "test"),
        (lambda: Data(limit={"trian": 5}), "limit"),
        (lambda: Data(limit={"train": 0}), "limit.train"),
        (lambda: Data(columns={"input": 3}), "columns.input"),
        (lambda: Data(packages="numpy"), "packages"),
        (lambda: Data(packages=("numpy", "numpy")), "packages"),
        (lambda: Data(package_limit=0), "package_limit"),
        (lambda: Dirichlet(alpha=0), "alpha"),
        (lambda: Quantity(alpha=float("nan")), "alpha"),
        (lambda: Shards(per_client=0), "per_client"),
        (lambda: Skew(share=1.1), "share"),
        (lambda: Skew(by="label", clusters=3), "clusters"),
        (lambda: Skew(clusters=1), "clusters"),
        (lambda: Topic(topics=1), "topics"),
    ],
)
def test_a_wrong_setting_is_named_first(make, field):
    with pytest.raises(SettingError) as caught:
        make()
    assert str(caught.value).startswith(field)
    assert "\n" not in str(caught.value)
