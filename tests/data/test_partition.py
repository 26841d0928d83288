from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtailor.chance import stream
from fedtailor.data.partition import Dirichlet, Files, Iid, Natural, Quantity, Shards, Skew, Topic
from fedtailor.data.partition.base import client_ids, column_values, safe_id
from fedtailor.errors import DataError, SettingError
from fedtailor.records import Example


def examples(labels):
    return [
        Example(id=f"file{label}-{row}", fields={"label": label, "input": f"{label} {row}"}) for row, label in enumerate(labels)
    ]


def embed(texts):
    """Place each text at the number it begins with."""
    return np.array([[float(text.split()[0]), 0.0] for text in texts])


def every_partition():
    by_label = {"by": "label"}
    return [
        Iid(),
        Dirichlet(**by_label, alpha=1.0),
        Shards(**by_label, per_client=2),
        Skew(**by_label, share=0.5),
        Skew(clusters=2),
        Quantity(alpha=2.0),
        Natural(**by_label),
        Topic(topics=2, alpha=1.0),
        Files(),
    ]


def divided(partition, data, count, seed=0, min_examples=1):
    return partition.divide(data, count, stream(seed, "partition"), min_examples, embed)


@settings(max_examples=25, deadline=None)
@given(labels=st.lists(st.integers(0, 4), min_size=12, max_size=60), count=st.integers(1, 4), seed=st.integers(0, 9))
@pytest.mark.parametrize("partition", every_partition(), ids=lambda p: f"{p.kind}-{getattr(p, 'by', '')}")
def test_every_example_lands_exactly_once_and_always_the_same_way(partition, labels, count, seed):
    if len(set(labels)) < 2:
        labels = [*labels, 0, 1]
    wanted = None if partition.kind in ("natural", "files") else count
    data = examples(labels)
    parts = divided(partition, data, wanted, seed)
    assert sorted(row for rows in parts.values() for row in rows) == list(range(len(data)))
    assert all(rows == sorted(rows) for rows in parts.values())
    assert list(parts) == sorted(parts)
    if wanted is not None:
        assert len(parts) == count
    assert divided(partition, data, wanted, seed) == parts


def test_iid_sizes_differ_by_at_most_one():
    parts = divided(Iid(), examples([0] * 11), 4)
    assert sorted(map(len, parts.values())) == [2, 3, 3, 3]
    assert list(parts) == ["client-00", "client-01", "client-02", "client-03"]


def test_names_sort_as_numbers():
    names = list(divided(Iid(), examples([0] * 150), 101))
    assert names[0] == "client-000"
    assert names == sorted(names)


def test_ten_clients_where_nobody_says_how_many():
    assert len(divided(Iid(), examples([0] * 20), None)) == 10


def test_small_alpha_separates_and_large_alpha_mixes():
    data = examples([0, 1] * 500)

    def largest_share(alpha):
        parts = divided(Dirichlet(by="label", alpha=alpha), data, 4, min_examples=10)
        return np.mean([max(Counter(r % 2 for r in rows).values()) / len(rows) for rows in parts.values()])

    assert largest_share(1000.0) < 0.56
    assert largest_share(0.1) > 0.75


@pytest.mark.parametrize("partition", [Dirichlet(by="label", alpha=0.5), Quantity(alpha=0.5), Topic(topics=2, alpha=0.5)])
def test_parts_below_the_minimum_are_drawn_again(partition):
    parts = divided(partition, examples([0, 1, 2] * 40), 4, min_examples=15)
    assert min(map(len, parts.values())) >= 15


def test_hopeless_draws_end_with_advice():
    with pytest.raises(DataError, match=r"100 draws.*alpha"):
        divided(Dirichlet(by="label", alpha=0.001), examples([0] * 100), 10, min_examples=10)
    with pytest.raises(DataError, match="need 200 training examples, but there are 100"):
        divided(Quantity(), examples([0] * 100), 10, min_examples=20)


def test_shards_give_few_labels_each():
    # 4 labels of 10, 4 clients with 1 shard of 10: each has one label whole
    parts = divided(Shards(by="label", per_client=1), examples([0, 1, 2, 3] * 10), 4)
    assert [len({row % 4 for row in rows}) for rows in parts.values()] == [1, 1, 1, 1]
    with pytest.raises(DataError, match="need 45 examples"):
        divided(Shards(by="label", per_client=15), examples([0] * 40), 3)


@pytest.mark.parametrize(("share", "own"), [(1.0, 10), (0.8, 8), (0.0, 0)])
def test_skew_gives_the_share_from_the_own_cluster(share, own):
    # 4 labels of 10 to 4 clients of 10: at least share * 10 of a client's own label; at share 1 all
    parts = divided(Skew(by="label", share=share), examples([0, 1, 2, 3] * 10), 4)
    most = [Counter(row % 4 for row in rows).most_common(1)[0] for rows in parts.values()]
    assert all(len(rows) == 10 for rows in parts.values())
    assert all(count >= own for _, count in most)
    if share >= 0.8:
        assert sorted(label for label, _ in most) == [0, 1, 2, 3]


def test_skew_by_clusters_finds_the_labels():
    parts = divided(Skew(clusters=2, share=1.0), examples([0, 9] * 10), 2)
    assert [len({row % 2 for row in rows}) for rows in parts.values()] == [1, 1]


def test_natural_leaves_out_the_small_and_keeps_the_largest():
    data = examples(["a"] * 5 + ["b"] * 3 + ["c/../d"] * 4 + ["e"])
    assert {name: len(rows) for name, rows in divided(Natural(by="label"), data, None, min_examples=2).items()} == {
        "a": 5,
        "b": 3,
        "c-..-d": 4,
    }
    assert list(divided(Natural(by="label"), data, 2)) == ["a", "c-..-d"]
    with pytest.raises(
        DataError, match=r"names 4 clients .'a' 5, .*3 of them with at least clients.min_examples = 2.*clients.count asks for 4"
    ):
        divided(Natural(by="label"), data, 4, min_examples=2)


@pytest.mark.parametrize("other", ["north ", "no\u200brth", "north\u00a0"])
def test_natural_refuses_names_that_look_alike(other):
    examples = [Example(id=f"e-{n}", fields={"ward": ("north", other)[n % 2]}) for n in range(8)]
    with pytest.raises(DataError, match=r"column 'ward' has the names 'north' and .* which look alike"):
        Natural(by="ward").divide(examples, None, np.random.default_rng(0), 1)


def test_natural_names_stay_apart_and_safe():
    parts = divided(Natural(by="label"), examples(["a b", "a/b", "..", "a b"]), None)
    assert {name: rows for name, rows in parts.items()} == {"a-b": [0, 3], "a-b-2": [1], "unnamed": [2]}


def test_files_are_clients():
    assert divided(Files(), examples([0, 1, 0]), None) == {"file0": [0, 2], "file1": [1]}


@pytest.mark.parametrize("partition", [p for p in every_partition() if p.kind not in ("natural", "files")], ids=repr)
def test_more_clients_than_examples(partition):
    with pytest.raises(DataError, match=r"clients\.count asks for 30 clients, but 20 training examples"):
        divided(partition, examples([0, 1] * 10), 30)


def test_an_unknown_column_names_the_nearest():
    with pytest.raises(SettingError, match=r"names column 'lable'.*did you mean 'label'"):
        divided(Natural(by="lable"), examples([0, 1]), None)


def test_topics_need_an_encoder():
    with pytest.raises(SettingError, match="minilm-l6"):
        Topic(topics=2).divide(examples([0, 1]), 2, stream(0, "x"), 1, None)
    with pytest.raises(DataError, match="asks for 10 topics"):
        Topic(topics=10).divide(examples([0, 1]), 2, stream(0, "x"), 1, embed)


def test_slots_of_a_text_are_columns():
    row = Example(id="x-0", fields={"input": "name[The Vaults], eatType[pub]", "n": 3})
    assert column_values([row], "input[eatType]") == ["pub"]
    assert column_values([row], "input[Type]") == [""]
    assert column_values([row], "input[#]") == ["2"]
    assert column_values([row], "n") == ["3"]


def test_ids_of_long_names_fit_a_folder_and_differ(tmp_path):
    taken = set()
    names = [safe_id(name, taken) for name in ("😀字" * 100, "𝒳" * 90, "𝒳" * 91, "a" * 300, "a" * 301, "", "..")]
    assert len(set(names)) == len(taken) == 7
    for name in names:
        (tmp_path / f"{name}.safetensors").mkdir()
    assert names[1:3] == ["𝒳" * 20, "𝒳" * 20 + "-2"]


def test_a_name_that_is_an_id_keeps_it_whatever_other_names_there_are():
    assert client_ids(["(A)", "A", "A/B"]) == {"A": "A", "(A)": "A-2", "A/B": "A-B"}
