"""The public sets of the study of alignment (benchmarks/alignment.py), and its correlations."""

import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from alignment import make_sets, rank_correlations, write_sets


@pytest.fixture
def texts():
    bank = pd.DataFrame({"text": [f"question {n}" for n in range(2000)], "label": [n % 77 for n in range(2000)]})
    return bank, pd.DataFrame({"target": [f"the pub {n}" for n in range(210)]})


def test_public_sets_are_apart_from_private_rows_and_as_their_names_say(texts):
    private, sets = make_sets(*texts, rows=200)
    assert list(sets) == ["as-is", "intents-38", "intents-8", "other-25", "other-50", "other-75", "other-100"]
    assert {name: len(table) for name, table in sets.items()} == {
        name: 200 if name != "intents-8" else len(sets[name]) for name in sets
    }
    assert all(set(private["text"]).isdisjoint(table["text"]) for table in sets.values())
    assert len(private) == 1000
    assert set(sets["intents-8"]["label"]) <= set(sets["intents-38"]["label"])
    assert (sets["intents-38"]["label"].nunique(), sets["intents-8"]["label"].nunique()) == (38, 8)
    strange = {name: table["text"].str.startswith("the pub").sum() for name, table in sets.items()}
    assert list(strange.values()) == [0, 0, 0, 50, 100, 150, 200]
    assert all(table["label"].isna().sum() == strange[name] for name, table in sets.items())
    assert set(sets["other-50"]["text"][:100]) == set(sets["as-is"]["text"][:100])  # the same rows stay


def test_what_is_written_comes_back_and_stays(texts, tmp_path):
    files = write_sets(*texts, 80, tmp_path)
    back = pd.read_parquet(files["other-75"])
    assert back["label"].isna().sum() == 60
    assert back["label"].dropna().map(lambda label: label == int(label)).all()
    files["as-is"].write_text("mine")
    assert write_sets(*texts, 80, tmp_path)["as-is"].read_text() == "mine"


def test_rank_correlation_by_hand():
    # ranks of accuracy 4, 3, 2, 1 and of fit 1, 2, 4, 3: differences 3, 1, 2, 2 -> 1 - 6 * 18 / (4 * 15) = -0.8
    means = pd.DataFrame(
        {
            "setting": ["a", "b", "c", "d", "c-refined"],
            "accuracy": [0.9, 0.8, 0.7, 0.6, 0.1],
            "public_fit": [0.5, 0.6, 0.9, 0.8, 0.1],
            "labels_unlike": [0.1, 0.2, None, None, None],
        }
    )
    assert rank_correlations(means) == {"public_fit": (pytest.approx(-0.8), 4)}  # two settings are too few
    assert rank_correlations(means.drop(columns="public_fit")) == {}
