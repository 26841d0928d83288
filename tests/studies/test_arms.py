"""A comparison: several systems, each over grids of its own."""

from dataclasses import replace

import pandas as pd
import pytest

from fedtailor.errors import SettingError
from fedtailor.studies.arms import brief, choose, make_arms, value_at
from fedtailor.studies.recipes import Arm, Recipe

SPLIT = {"protocol": {"kind": "split", "cut": 1, "local": {"learning_rate": 0.1}}}


@pytest.fixture
def recipe():
    return Recipe(
        name="two",
        title="",
        paper="",
        data="set",
        job={
            "backbone": "none", "task": {"kind": "classification"}, "data": {"train": "train.parquet"},
            "tuning": {"kind": "lora", "rank": 8}, "protocol": {"kind": "averaging", "local": {"learning_rate": 0.1}},
        },
        small={"stop": {"rounds": 2}, "protocol": {"local": {"learning_rate": 0.5}}},
        notes={},
        seeds=(0, 7),
        arms={
            "avg": Arm(about="", cells=["tuning.rank=4,8"]),
            "cut": Arm(about="", job=SPLIT, cells=["protocol.cut=1,2,3", "tuning.rank=4 protocol.cut=2"], small=["protocol.cut=2"]),
            "all": Arm(about="", cells=["tuning.rank=8"], baseline="central"),
        },
    )  # fmt: skip


def test_every_arm_has_the_cells_of_its_grids_for_every_seed(recipe, tmp_path):
    axes, cells = make_arms(recipe, "paper", tmp_path)
    assert [axis.name for axis in axes] == ["arm", "tuning.rank", "protocol.cut", "seed"]
    assert [axis.values for axis in axes] == [("avg", "cut", "all"), (4, 8), (1, 2, 3), (0, 7)]
    assert len(cells) == 2 * (2 + 3 + 1 + 1)
    assert cells[0].name == "avg_tuning.rank=4_seed=0"
    assert cells[0].settings == {"arm": "avg", "tuning.rank": 4, "protocol.cut": None, "seed": 0}
    assert cells[4].settings == {"arm": "cut", "tuning.rank": 8, "protocol.cut": 1, "seed": 0}  # the rank of its job
    assert (cells[-1].run, cells[-1].job.seed) == ("central", 7)
    assert len({tuple(cell.settings.values()) for cell in cells}) == len({cell.name for cell in cells}) == len(cells)


def test_the_small_variant_changes_arms_too(recipe, tmp_path):
    _, cells = make_arms(recipe, "small", tmp_path, ["stop.rounds=5"])
    assert [cell.name for cell in cells if cell.name.startswith("cut")] == [
        "cut_protocol.cut=2_seed=0",
        "cut_protocol.cut=2_seed=7",
    ]
    assert {(cell.job.stop.rounds, cell.job.protocol.local.learning_rate) for cell in cells} == {(5, 0.5)}
    own = replace(recipe.arms["cut"], small_job={"protocol": {"labels": "with-server"}})
    changed = replace(recipe, arms=recipe.arms | {"cut": own})
    assert changed.settings("small", arm="cut")["protocol"]["labels"] == "with-server"
    assert "labels" not in changed.settings("paper", arm="cut")["protocol"]
    assert ("cut: protocol.kind", "split") in [line[:2] for line in recipe.arm_lines()]
    assert not [line for line in recipe.arm_lines() if line.setting.startswith("avg")]


def test_what_the_recipe_varies_cannot_be_set(recipe, tmp_path):
    with pytest.raises(SettingError, match=r"varies; choose among its cells with --only, such as --only '\*tuning.rank=…\*'"):
        make_arms(recipe, "paper", tmp_path, ["tuning.rank=2"])
    with pytest.raises(SettingError, match=r"the cell avg_tuning.rank=4_seed=0 is no job"):
        make_arms(recipe, "paper", tmp_path, ["stop.rounds=0"])


def test_a_setting_can_be_put_on_one_arm_alone(recipe, tmp_path):
    own = ["cut:protocol.labels=with-server", "cut:tuning.rank=2", "stop.rounds=5"]
    _, cells = make_arms(replace(recipe, seeds=[0]), "small", tmp_path, own)
    assert {(cell.name, value_at(cell.job, "protocol.labels"), cell.job.tuning.rank) for cell in cells} == {
        ("avg_tuning.rank=4_seed=0", None, 4), ("avg_tuning.rank=8_seed=0", None, 8),
        ("cut_protocol.cut=2_seed=0", "with-server", 2), ("all_tuning.rank=8_seed=0", None, 8),
    }  # fmt: skip
    assert {cell.job.stop.rounds for cell in cells} == {5}
    lines = {line.setting: (line.value, line.whose) for line in recipe.arm_lines("small", own)}
    assert lines["cut: protocol.labels"] == ("with-server", "yours")
    assert not [line for line in recipe.lines("small", own) if "labels" in line.setting]


@pytest.mark.parametrize("overrides", [["stop.rounds=5", "cut:stop.rounds=6"], ["cut:stop.rounds=6", "stop.rounds=5"]])
def test_what_is_put_on_one_arm_wins_in_either_order(recipe, tmp_path, overrides):
    _, cells = make_arms(recipe, "small", tmp_path, overrides)
    assert {(cell.settings["arm"], cell.job.stop.rounds) for cell in cells} == {("avg", 5), ("cut", 6), ("all", 5)}


def test_an_arms_own_value_is_reported_where_it_is_the_one_of_all(recipe):
    own = replace(recipe.arms["cut"], small_job={"protocol": {"local": {"learning_rate": 0.2}}})
    changed = replace(recipe, arms=recipe.arms | {"cut": own})
    told = {line.setting: line for line in changed.arm_lines("small", ["cut:protocol.local.learning_rate=0.5"])}
    assert told["cut: protocol.local.learning_rate"][1:] == ("0.5", "yours", "0.2 in the recipe")
    assert not any("rounds" in line.setting for line in changed.arm_lines("small", ["stop.rounds=5"]))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("cot:stop.rounds=5", "^cot:stop.rounds=5 names 'cot'; did you mean cut?"),
        ("else:stop.rounds=5", "names 'else'; two compares avg, cut, all"),
        ("avg:tuning.rank=2", r"tuning.rank is what avg varies; .* --only '\*tuning.rank=…\*'"),
        ("avg:seed=1", "seed is what avg varies"),
        ("cut:stop.rounds=0", "the cell cut_protocol.cut=1_seed=0 is no job"),
        ("cut:stop.rounds", "'stop.rounds' is not an override"),
    ],
)
def test_a_setting_of_one_arm_that_cannot_be_put(recipe, tmp_path, wrong, why):
    with pytest.raises(SettingError, match=why):
        make_arms(recipe, "paper", tmp_path, [wrong])


def test_a_recipe_of_one_run_has_no_arms_to_set(recipe):
    with pytest.raises(SettingError, match="names 'avg'; two is one run"):
        replace(recipe, arms={}).settings("paper", ["avg:stop.rounds=5"])


def test_the_job_that_all_arms_start_from_takes_no_setting_of_one(recipe, tmp_path):
    with pytest.raises(SettingError, match=r"avg:stop\.rounds=5 is a setting of one system"):
        recipe.make_job("paper", tmp_path, ["avg:stop.rounds=5"])


def test_seeds_are_the_recipes_the_variants_or_given(recipe, tmp_path):
    fewer = replace(recipe, small_seeds=[7])
    for variant, overrides, expected in (
        ("paper", [], (0, 7)),
        ("small", [], (7,)),
        ("paper", ["seed=3"], (3,)),
        ("small", ["stop.rounds=5", "seed=1,2"], (1, 2)),
    ):
        axes, cells = make_arms(fewer, variant, tmp_path, overrides)
        assert (axes[-1].name, axes[-1].values) == ("seed", expected)
        assert {cell.job.seed for cell in cells} == set(expected)
    for wrong, why in (
        (["seed=1", "seed=2"], "seed is given twice"),
        (["seed=1,1"], "the value 1 twice"),
        (["seed=one"], "seed"),
    ):
        with pytest.raises(SettingError, match=why):
            make_arms(fewer, "paper", tmp_path, wrong)


def test_some_cells_are_chosen_and_what_is_done_stays_in_the_table(recipe, tmp_path):
    _, cells = make_arms(recipe, "paper", tmp_path)
    done = tmp_path / "cells" / "avg_tuning.rank=8_seed=7"
    done.mkdir(parents=True)
    (done / "summary.json").write_text("{}")
    assert [cell.name for cell in choose(cells, ["avg*=0"], tmp_path)] == [
        "avg_tuning.rank=4_seed=0", "avg_tuning.rank=8_seed=0", "avg_tuning.rank=8_seed=7",
    ]  # fmt: skip
    assert choose(cells, [], tmp_path) == cells
    with pytest.raises(SettingError, match="no cell is named avg_rank"):
        choose(cells, ["avg_rank"], tmp_path)


def test_a_value_that_is_not_there_is_none(recipe, tmp_path):
    job = recipe.make_job("paper", tmp_path)
    assert value_at(job, "protocol.local.learning_rate") == 0.1
    assert value_at(job, "protocol.cut") is None
    assert value_at(job, "name.of.something") is None
    assert pd.isna(value_at(job, "stop.patience")) is False


def test_a_technique_is_reported_in_a_few_words():
    assert brief({"kind": "skew", "share": 0.8, "by": "input[eatType]", "clusters": None}) == "skew 0.8 input[eatType]"
    assert [brief(value) for value in ({"kind": "iid"}, 8, None, "float16", {"a": 1})] == ["iid", 8, None, "float16", {"a": 1}]
