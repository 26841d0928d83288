import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from fedtailor.data import Clients, Data, divide
from fedtailor.data.divergence import mean_divergence
from fedtailor.data.partition import Dirichlet, Files, Iid, Natural, Topic
from fedtailor.data.split import split_by_input
from fedtailor.errors import DataError, SettingError
from fedtailor.records import Example


def rows(count, inputs=None):
    return [{"input": f"in {n % (inputs or count)}", "target": f"out {n}", "site": "abc"[n % 3]} for n in range(count)]


def run(tmp_path, data=None, clients=None, seed=0, **more):
    task = {"required": ("input", "target"), "optional": ("references",), **more}
    return divide(data or Data(), clients or Clients(count=4), base=tmp_path, seed=seed, **task)


def ids(owned):
    return [e.id for own in owned.values() for e in own]


@settings(max_examples=40, deadline=None)
@given(count=st.integers(40, 120), inputs=st.integers(12, 120), clients=st.integers(1, 5), seed=st.integers(0, 5))
def test_every_example_is_in_one_part_and_no_input_in_two(tmp_path_factory, count, inputs, clients, seed):
    made = rows(count, inputs)
    result = run(tmp_path_factory.getbasetemp(), clients=Clients(count=clients), given=made, seed=seed)
    assert Counter([*ids(result.train), *ids(result.validation), *ids(result.test)]) == Counter(
        f"train-{n}" for n in range(count)
    )
    sides = [{e.fields["input"] for own in part.values() for e in own} for part in (result.train, result.validation, result.test)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert all(result.train.values())
    again = run(tmp_path_factory.getbasetemp(), clients=Clients(count=clients), given=made, seed=seed)
    assert again.table.equals(result.table)
    assert len(result.table) == count


def test_shares_are_met_where_inputs_are_distinct(tmp_path):
    result = run(tmp_path, given=rows(200), clients=Clients(count=2, validation_share=0.1, test_share=0.2))
    for client in ("client-00", "client-01"):
        assert [len(part[client]) for part in (result.train, result.validation, result.test)] == [70, 10, 20]
    assert list(result.table.columns)[:3] == ["example", "client", "part"]
    assert result.table["part"].value_counts().to_dict() == {"train": 140, "test": 40, "validation": 20}


def test_each_row_has_the_group_that_divergence_is_taken_over(tmp_path):
    result = run(tmp_path, given=rows(48), clients=Clients(partition=Natural(by="site")))
    assert (result.divergence_over, result.divergence) == ("site", 1.0)
    assert (result.table["group"] == result.table["client"]).all()


def test_another_seed_divides_otherwise(tmp_path):
    made = rows(60)
    assert not run(tmp_path, given=made, seed=0).table.equals(run(tmp_path, given=made, seed=1).table)


def test_duplicates_go_first_and_then_the_limit_is_drawn(tmp_path):
    result = run(tmp_path, Data(limit={"train": 50}), given=rows(80) + rows(80))
    assert result.dropped == {"duplicates": 80, "over the limit": 30}
    assert len(result.table) == 50
    assert len(set(result.table["example"])) == 50


def test_public_files_are_whole_and_leave_no_validation_share(tmp_path):
    for name, count in (("train", 60), ("validation", 7), ("test", 9)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(count)))
    data = Data(train="train.jsonl", validation="validation.jsonl", test="test.jsonl", limit={"test": 5})
    result = run(tmp_path, data)
    assert (len(result.server_validation), len(result.server_test)) == (7, 5)
    assert not any(result.validation.values())
    assert all(result.test.values())
    assert result.overlap == {"validation": 7, "test": 9}


def test_the_test_set_changes_nothing_else(tmp_path):
    parts = {"train": rows(60), "test": rows(5)}
    one, two = (run(tmp_path, given={**parts, "test": test}).table for test in (rows(5), rows(30)))
    assert one.equals(two)


def test_natural_clients_that_are_left_out_are_counted(tmp_path):
    made = [*rows(60), {"input": "x", "target": "y", "site": "d"}]
    result = run(tmp_path, given=made, clients=Clients(partition=Natural(by="site")))
    assert list(result.train) == ["a", "b", "c"]
    assert result.dropped == {"1 client has fewer than clients.min_examples = 16 ('d' 1)": 1}
    assert (result.divergence, result.divergence_over) == (pytest.approx(1.0), "site")


def test_clients_in_memory(tmp_path):
    given_rows = {"north": rows(20), "south": [{"input": f"s{n}", "target": "t"} for n in range(30)]}
    result = run(tmp_path, given=given_rows, clients=Clients(partition=Files()))
    assert {name: len(own) for name, own in result.train.items()} == {"north": 16, "south": 24}


def test_topics_are_embedded_once(tmp_path):
    calls = []

    def embed(texts):
        calls.append(len(texts))
        return np.array([[float(int(text.split()[1]) % 2)] for text in texts])

    result = run(tmp_path, given=rows(80), clients=Clients(count=2, partition=Topic(topics=2, alpha=1.0)), embed=embed)
    assert calls == [80]
    assert result.divergence_over == "topic"
    assert 0 < result.divergence < 1


def test_divergence_by_hand():
    # shares (1, 0) and (1/2, 1/2): mixture (3/4, 1/4), entropy 0.811278; minus (0 + 1) / 2
    assert mean_divergence(["x", "x", "x", "y"], [[0, 1], [2, 3]]) == pytest.approx(0.311278, abs=1e-6)
    assert mean_divergence(["x", "y", "x", "y"], [[0, 1], [2, 3]]) == pytest.approx(0.0)
    assert mean_divergence(["x", "y"], [[0], [1]]) == pytest.approx(1.0)
    assert mean_divergence(["x", "y"], [[0, 1]]) == 0.0
    # three clients x, x, y: pairs 0, 1, 1
    assert mean_divergence(["x", "x", "y"], [[0], [1], [2]]) == pytest.approx(2 / 3)


def test_divergence_is_that_of_all_pairs_and_takes_no_memory_for_each():
    draw = np.random.default_rng(0)
    values = [str(value) for value in draw.integers(0, 5, 90)]
    rows = np.split(draw.permutation(90), sorted(draw.choice(np.arange(1, 90), 11, replace=False)))
    shares = [[sum(values[row] == str(value) for row in own) / len(own) for value in range(5)] for own in rows]
    pairs = [jensenshannon(one, other, base=2) ** 2 for place, one in enumerate(shares) for other in shares[place + 1 :]]
    assert mean_divergence(values, rows) == pytest.approx(np.mean(pairs), abs=1e-12)
    each = [str(row // 2) for row in range(20_000)]  # 50 million pairs, none of which share a value
    assert mean_divergence(each, [[row, row + 1] for row in range(0, 20_000, 2)]) == pytest.approx(1.0)


def test_label_divergence_of_an_even_division(tmp_path):
    made = [{"text": f"t{n}", "label": n % 2} for n in range(400)]
    task = {"required": ("text", "label"), "optional": (), "key": "text", "given": made}
    even = run(tmp_path, clients=Clients(count=4), **task)
    uneven = run(tmp_path, clients=Clients(count=4, partition=Dirichlet(alpha=0.1)), **task)
    assert even.divergence_over == "label"
    assert even.divergence < 0.05 < uneven.divergence


def test_an_input_with_many_targets_stays_whole():
    owned = {"a": [Example(id=str(n), fields={"input": "xyz"[n // 10]}) for n in range(30)]}
    parts = split_by_input(owned, {"validation": 0.1, "test": 0.1}, "input", seed=0)
    assert [len(parts[part]["a"]) for part in ("train", "validation", "test")] == [10, 10, 10]


def test_shares_of_zero_keep_all_for_training():
    owned = {"a": [Example(id="0", fields={"input": "x"})]}
    parts = split_by_input(owned, {"validation": 0.0, "test": 0.0}, "input", seed=0)
    assert [len(parts[part]["a"]) for part in ("train", "validation", "test")] == [1, 0, 0]


@dataclass(frozen=True, kw_only=True)
class Greedy:
    kind: str = "mine"

    def divide(self, examples, count, draw, min_examples, embed):
        return {"one": list(range(len(examples))), "two": [0]}


@pytest.mark.parametrize(
    ("clients", "kind", "words"),
    [
        (Clients(count=61), DataError, "asks for 61 clients, but 60 training examples"),
        (Clients(count=40), DataError, "client 'client-00' has 2 examples with 2 different values of 'input'"),
        (Clients(partition=Iid(), per_round=11), SettingError, "per_round asks for 11 clients a round, but the data give 10"),
        (Clients(partition=Greedy()), SettingError, "dealt 61 rows, 60 of them different"),
    ],
)
def test_clients_that_do_not_fit_the_data(tmp_path, clients, kind, words):
    with pytest.raises(kind, match=words):
        run(tmp_path, given=rows(60), clients=clients)


def test_unknown_parts_in_memory(tmp_path):
    with pytest.raises(DataError, match="leave tset out"):
        run(tmp_path, given={"train": rows(60), "tset": rows(5)})


def test_docstrings_end_to_end(tmp_path):
    data = Data(packages=("numpy", "sklearn"), package_limit=60)
    result = run(tmp_path, data, Clients(partition=Natural()))
    assert list(result.train) == ["numpy", "sklearn"]
    assert [len(part["numpy"]) for part in (result.train, result.validation, result.test)] == [48, 6, 6]
    texts = run(tmp_path, data, Clients(partition=Natural()), required=("text",), optional=(), key="text")
    assert "\n" in texts.train["numpy"][0].fields["text"]


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_public_part_that_says_nothing_is_refused(tmp_path, part):
    texts = [{"text": f"line {n}"} for n in range(60)]
    task = {"required": ("text",), "optional": (), "key": "text"}
    (tmp_path / "blank.txt").write_text("\n \n\n")
    with pytest.raises(DataError, match=rf"data\.{part} has 3 examples, all of them blank.*leave {part} out"):
        run(tmp_path, Data(**{part: "blank.txt"}), given={"train": texts}, **task)
    with pytest.raises(DataError, match=rf"data\.{part} has no examples"):
        run(tmp_path, given={"train": texts, part: {}}, **task)


OWNERS = Clients(partition=Natural(by="site"), min_examples=4)


def shared_rows():
    """Two owners with 30 inputs in common, and ten of their own each."""
    common = [{"input": f"common {n}", "target": f"t{n}", "site": site} for site in ("north", "south") for n in range(30)]
    return common + [{"input": f"{site} {n}", "target": "t", "site": site} for site in ("north", "south") for n in range(10)]


def kept(divided):
    return {
        client: [sorted(e.fields["input"] for e in part[client]) for part in (divided.train, divided.test)]
        for client in divided.train
    }


def test_what_an_owner_keeps_does_not_depend_on_others(tmp_path):
    made = shared_rows()
    whole = run(tmp_path, given=made, clients=OWNERS)
    assert {client: len(own) for client, own in whole.train.items()} == {"north": 32, "south": 32}
    assert "duplicates" not in whole.dropped
    backwards = run(tmp_path, given=[*made[30:60], *made[:30], *made[60:]], clients=OWNERS)
    alone = run(tmp_path, given=[row for row in made if row["site"] == "south"], clients=OWNERS)
    assert kept(whole) == kept(backwards)
    assert kept(whole)["south"] == kept(alone)["south"]
    assert any("an input that another client trains on" in note for note in whole.notes)
    files = run(
        tmp_path,
        given={site: [row for row in made if row["site"] == site] for site in ("north", "south")},
        clients=Clients(min_examples=4),
    )
    assert kept(files) == kept(whole)


def test_an_owners_own_repeated_rows_count_once(tmp_path):
    made = [{"input": f"i{n % 5}", "target": "t", "site": "ab"[n % 2]} for n in range(100)]
    with pytest.raises(
        DataError, match=r"^90 of 100 rows repeat an earlier one, and count once.*'a' 5, 'b' 5.*min_examples = 16"
    ):
        run(tmp_path, given=made, clients=Clients(partition=Natural(by="site")))


def test_conversations_that_differ_in_their_tools_or_turns_are_not_repeated(tmp_path):
    turns = [{"role": "user", "content": "Sun?"}, {"role": "assistant", "content": "Yes."}]
    told = [{**turns[0], "role": "system"}, turns[1]]
    tools = [[{"name": f"f{n}"}] for n in range(40)]
    made = [{"messages": turns, "tools": each} for each in tools]
    made += [{"messages": told}, {"messages": turns}, {"messages": turns, "tools": [{"name": "f0", "about": None}]}]
    result = run(
        tmp_path,
        given=made,
        clients=Clients(count=2, min_examples=4, validation_share=0, test_share=0),
        extra=("messages", "tools"),
    )
    assert result.dropped == {"duplicates": 1}  # the last: a null is nothing
    assert sum(len(own) for part in (result.train, result.validation, result.test) for own in part.values()) == 42


LINES = {"required": ("text",), "optional": (), "key": "text"}


def test_running_text_is_kept_whole_and_divided_into_stretches(tmp_path):
    lines = ["def f():", "    return None", "", ""] * 10
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    result = run(tmp_path, Data(train=["a.txt", "b.txt"]), Clients(partition=Files()), **LINES)
    for client in ("a", "b"):
        stretches = [[e.fields["text"] for e in part[client]] for part in (result.train, result.validation, result.test)]
        assert [len(part) for part in stretches] == [32, 4, 4]
        assert [line for part in stretches for line in part] == lines
    assert result.dropped == {}
    part = run(tmp_path, Data(train="a.txt", limit={"train": 20}), Clients(count=1, validation_share=0, test_share=0), **LINES)
    numbers = [int(e.id.rpartition("-")[2]) for e in part.train["client-00"]]
    assert numbers == list(range(numbers[0], numbers[0] + 20))


def test_a_mapping_of_clients_makes_these_clients(tmp_path):
    given_rows = {"north": rows(20), 11: pd.DataFrame(rows(30))}
    result = run(tmp_path, given=given_rows, clients=Clients(min_examples=1))
    assert {name: len(own) for name, own in result.train.items()} == {"11": 24, "north": 16}
    examples = {site: [Example(id=str(n), fields=row) for n, row in enumerate(rows(20))] for site in ("north", "south")}
    result = run(tmp_path, given=examples, clients=Clients(min_examples=1))
    assert {name: {e.id.rpartition("-")[0] for e in own} for name, own in result.train.items()} == {
        "north": {"north"},
        "south": {"south"},
    }
    with pytest.raises(DataError, match=r"names 2 clients.*clients\.count asks for 3"):
        run(tmp_path, given=given_rows, clients=Clients(count=3, min_examples=1))
    with pytest.raises(SettingError, match=r"mapping of 2 names of clients.*leave clients\.partition out"):
        run(tmp_path, given=given_rows, clients=Clients(partition=Dirichlet(by="site")))
    with pytest.raises(DataError, match="None is no name of a client"):
        run(tmp_path, given={None: rows(20)})


def test_rows_without_an_owner_are_named_or_left_out(tmp_path):
    made = [{"input": f"i{n}", "target": "t", "site": [11.0, 12.0, None][n % 3]} for n in range(60)]
    for given_table in (made, pd.DataFrame(made)):
        with pytest.raises(
            DataError, match=r"20 of 60 rows .*'site' is empty in 20 rows \(row 2, row 5, row 8, row 11, row 14, \.\.\.\)"
        ):
            run(tmp_path, given=given_table, clients=OWNERS)
        result = run(tmp_path, Data(missing="drop"), OWNERS, given=given_table)
        assert {client: len(own) for client, own in result.train.items()} == {"11": 16, "12": 16}
        assert result.dropped == {"rows without a value in column 'site'": 20}


def test_what_was_recognized_in_a_file_is_noted(tmp_path):
    (tmp_path / "x.csv").write_text("input;target\n" + "".join(f"{n},5;t\n" for n in range(40)))
    assert run(tmp_path, Data(train="x.csv"), Clients(count=2)).notes == [
        f"{tmp_path / 'x.csv'}: its cells are separated by semicolons"
    ]


def test_rows_whose_text_lacks_the_slot_of_the_owner_have_none(tmp_path):
    made = [{"input": f"area[{'north' if n % 3 else 'south'}], n[{n}]" if n % 2 else f"n[{n}]", "target": "t"} for n in range(60)]
    clients = Clients(partition=Natural(by="input[area]"), min_examples=4)
    with pytest.raises(
        DataError, match=r"30 of 60 training examples have no value in 'input\[area\]'.*train-0 \(row 0\), .*data\.missing: drop"
    ):
        run(tmp_path, given=made, clients=clients)
    result = run(tmp_path, Data(missing="drop"), clients, given=made)
    assert {client: len(own) for client, own in result.train.items()} == {"north": 16, "south": 8}
    assert result.dropped == {"rows without a value in column 'input[area]'": 30}


@dataclass(frozen=True, kw_only=True)
class Shouting(Natural):
    """A partition of the user's that reads another column than the one it is made of."""

    def owners(self, examples):
        return [str(example.fields["ward"]).upper() for example in examples]


def test_a_partition_of_the_users_is_given_all_columns(tmp_path):
    made = [{"input": f"i{n}", "target": "t", "site": "x", "ward": "ab"[n % 2]} for n in range(40)]
    clients = Clients(partition=Shouting(by="site"), min_examples=4)
    assert list(run(tmp_path, given=made, clients=clients, context=()).train) == ["A", "B"]


def test_only_rows_with_a_wanted_value_are_used(tmp_path):
    task = {"required": ("input", "target", "site")}
    result = run(tmp_path, Data(only={"site": ["a", "c"]}), given=rows(90), **task)
    sites = Counter(
        e.fields["site"] for part in (result.train, result.validation, result.test) for own in part.values() for e in own
    )
    assert sites == {"a": 30, "c": 30}
    assert result.dropped == {"rows that data.only leaves out by site": 30}


@pytest.mark.parametrize(
    ("only", "text"),
    [
        ({"site": ["z"]}, "keeps none of data.train: site is one of a, b, c, none of z"),
        ({"place": ["a"]}, "data.only names 'place'.*name a column"),
    ],
    ids=["value", "column"],
)
def test_only_that_names_what_is_not_there(tmp_path, only, text):
    with pytest.raises(SettingError, match=text):
        run(tmp_path, Data(only=only), given=rows(90), required=("input", "target", "site"))
    with pytest.raises(SettingError, match="a list of values"):
        Data(only={"site": "a"})
