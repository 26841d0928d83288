"""The recipe of six techniques: arms of unlike protocols in one table, of which one needs the run of another."""

import pandas as pd
import pytest

from fedtailor.cli.arms import run_arms
from fedtailor.errors import SettingError
from fedtailor.studies import prepared
from fedtailor.studies.arms import choose, make_arms
from fedtailor.studies.recipes import load_recipe
from fedtailor.studies.sweep import run_sweep

TRIED = ("LoRA", "prefix-central", "prompt-search", "distillation", "reader", "retrieval")


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("FEDTAILOR_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setattr(prepared, "MAKERS", {**prepared.MAKERS, "blocks": ((), lambda folder, data, count: None)})
    yield
    monkeypatch.undo()


@pytest.fixture(scope="module")
def changes(tiny_backbone_folder, tiny_bert_folder):
    """Return overrides by which all arms have tiny models."""
    small = [f"{arm}:backbone={tiny_bert_folder}" for arm in ("reader", "retrieval")]
    return [
        f"backbone={tiny_backbone_folder}",
        *small,
        "threads=1",
        "precision=float32",
        "evaluation.generate.max_new_tokens=2",
        "prompt-search:task.max_tokens=100",
    ]


@pytest.fixture(scope="module")
def made(data, changes, tmp_path_factory):
    """Return the sweep of one cell of some arms of the tiny variant."""
    recipe = load_recipe("six-techniques")
    recipe.prepare("tiny", data)
    folder = tmp_path_factory.mktemp("arms") / "six"
    axes, cells = make_arms(recipe, "tiny", data, changes, folder=folder)
    return run_sweep(axes, choose(cells, [f"{arm}_*" for arm in TRIED], folder), folder)


def test_arms_of_unlike_protocols_are_rows_of_one_table(made):
    rows = made.table.set_index("arm")
    assert list(rows.index) == list(TRIED)
    assert list(rows["error"]) == [""] * len(TRIED)
    assert rows["f1"].notna().all()
    assert rows["exact_match"].notna().all()
    assert rows["recall@5"].notna().to_dict() == {arm: arm == "retrieval" for arm in TRIED}
    assert rows["loss"].isna().to_dict() == {arm: arm == "retrieval" for arm in TRIED}
    assert (rows[["client_memory_bytes", "seconds"]] > 0).all(axis=None)
    assert (rows["up_bytes"] > 0).to_dict() == {arm: arm != "prefix-central" for arm in TRIED}
    assert rows["flops"].isna().to_dict() == {arm: arm == "retrieval" for arm in TRIED}  # nobody trains there


def test_the_table_says_what_leaves_a_client_of_each(made, data, changes, capsys):
    run_arms(load_recipe("six-techniques"), "tiny", data, changes, only=[f"{arm}_*" for arm in TRIED], out_folder=made.folder)
    printed = " ".join(capsys.readouterr().out.split())
    for words in (
        "leaves a client of",
        "LoRA train",
        "prefix-central rows all of them",
        "prompt-search scored",
        "passages texts",
    ):
        assert words in printed


def test_the_reader_of_retrieval_is_the_run_of_the_reader_of_its_seed(data, tmp_path):
    recipe = load_recipe("six-techniques")
    _, cells = make_arms(recipe, "small", data, folder=tmp_path / "x")
    readers = {cell.job.seed: cell.job.task.reader.run for cell in cells if cell.settings["arm"] == "retrieval"}
    assert readers == {seed: str(tmp_path / "x" / "cells" / f"reader_seed={seed}") for seed in (0, 1, 2)}


def test_a_run_that_is_named_is_of_one_cell_before(data, tmp_path):
    recipe = load_recipe("six-techniques")
    with pytest.raises(SettingError, match=r"task.reader.run of the cell retrieval_seed=0 is cell:raeder.*there are 0 of raeder"):
        make_arms(recipe, "tiny", data, ["retrieval:task.reader.run=cell:raeder"], folder=tmp_path)


def test_questions_are_parted_by_article_and_about_short_passages(data):
    folder = prepared.prepare("questions-110", data)
    train, test, documents, of_test = (
        pd.read_parquet(folder / f"{name}.parquet") for name in ("train", "test", "documents", "documents-of-test")
    )
    assert (len(train) + len(test), len(documents), len(of_test)) == (72, 80, 20)  # titles 0 and 4 of 8 are test
    assert set(test["title"]) == set(of_test["title"]) == {"Title 0", "Title 4"}
    assert not set(train["title"]) & set(test["title"])
    assert train["input"][0] == "Shop 1 is near the park. It is open.\nQuestion: What is shop 1 near?"
    assert (train["target"][0], list(train["references"][0])) == ("park", ["park"])
