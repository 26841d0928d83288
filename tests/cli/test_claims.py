import json

import pandas as pd
import pytest


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data" / "ptb"
    folder.mkdir(parents=True)
    for part, count in (("train", 60), ("validation", 4), ("test", 6)):
        pd.DataFrame({"text": [f"the {part} shop {i} is near the river" for i in range(count)]}).to_parquet(
            folder / f"{part}.parquet"
        )
    return folder.parent


def test_list_has_all_with_verdicts(fedtailor):
    code, printed, _ = fedtailor("claims", "list", "--json")
    rows = {row["id"]: row for row in json.loads(printed)}
    assert code == 0
    assert len(rows) >= 41
    assert rows["split-bytes"]["verdict"] == "reproduced"
    assert "reproduced" in fedtailor("claims", "list")[1]


def test_show_has_the_command_and_the_evidence(fedtailor):
    printed = " ".join(fedtailor("claims", "show", "fedgen-personal")[1].split())
    for words in ("mixed", "2511.11585", "−26.5 to −12.1", "transcribed", "fedtailor claims run fedgen-personal --data DATA"):
        assert words in printed
    code, _, said = fedtailor("claims", "show", "fedgen-persnal")
    assert code == 2
    assert "did you mean fedgen-personal" in " ".join(said.split())


def test_run_adds_evidence_and_continues_from_what_is_finished(fedtailor, data, tmp_path, tiny_backbone_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = [
        f"backbone={tiny_backbone_folder}", "rank:stop.rounds=1", "clients.count=2", "clients.partition={kind: iid}", "threads=1",
        "data.limit={train: 24}", "task.block=16", "rank:clients.fraction=1.0", "evaluation.metrics=[loss]", "tuning.targets=null",
        "clients.min_examples=4",
    ]  # fmt: skip
    own = tmp_path / "own"
    code, _, said = fedtailor("claims", "run", "fedgen-drift", "--data", data, *small, "--evidence", own, "--json")
    assert code == 0, said
    (line,) = [json.loads(text) for text in (own / "fedgen-drift.jsonl").read_text().splitlines()]
    (swept,) = (tmp_path / "runs" / "claims").iterdir()

    def drift(rank, seed):
        return pd.read_parquet(swept / "cells" / f"rank_tuning.rank={rank}_seed={seed}" / "clients.parquet")["drift"].mean()

    assert line["seeds"] == [0, 1, 2]
    assert line["effects"] == pytest.approx([drift(2, seed) - drift(32, seed) for seed in range(3)])
    assert line["origin"] == "measured"
    assert "clients.count=2" in line["size"]
    code, _, _ = fedtailor("claims", "run", "fedgen-drift", "--from", swept, "--evidence", own)
    assert code == 0
    assert len((own / "fedgen-drift.jsonl").read_text().splitlines()) == 2


def test_settings_that_leave_a_side_out_are_refused_before_any_run(fedtailor, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, said = fedtailor("claims", "run", "fpt-network-size", "--data", data, "tuning.hidden=8,16")
    assert code == 2
    assert "has {'tuning.hidden': 512}, a side of the claim fpt-network-size" in " ".join(said.split())
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("fedgen-drift",), "needs --data DATA"),
        (("public-set-fit", "--data", "."), "run python benchmarks/alignment.py"),
        (("fedgen-drift", "--from", "nowhere"), "nowhere"),
        (("fedgen-drift", "--data", "nowhere"), "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_run_is_said(fedtailor, words, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, printed, said = fedtailor("claims", "run", *words)
    assert (code, printed) == (2, "")
    assert part in " ".join(said.split())
    assert not list(tmp_path.iterdir())
