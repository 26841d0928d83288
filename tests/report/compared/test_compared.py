"""Several runs on one page: which are taken together, what is said of their differences, and what cannot be compared."""

import json

import pandas as pd
import pytest

from fedtailor.cli.main import main
from fedtailor.errors import DataError, SettingError
from fedtailor.report import read_run
from fedtailor.report.compared import comparison_of, runs_in
from fedtailor.report.compared.groups import groups_of, interval, main_metric
from fedtailor.yaml_text import read_yaml, write_yaml


@pytest.fixture
def cell(write_run):
    """Return a maker of runs of two ranks and several seeds."""

    def make(rank, seed, loss, **changes):
        folder = write_run(f"r{rank}-s{seed}", rank=rank, loss=loss, **changes)
        job = folder / "job.yaml"
        job.write_text(write_yaml({**read_yaml(job.read_text(), "job"), "seed": seed}))
        return folder

    return make


@pytest.fixture
def cells(cell):
    return [
        cell(rank, seed, loss)
        for seed, losses in enumerate([(1.5, 1.25), (1.625, 1.25)])
        for rank, loss in zip((4, 8), losses, strict=True)
    ]


def ended(words):
    with pytest.raises(SystemExit) as end:
        main(["report", *map(str, words)])
    return end.value.code


def test_runs_that_differ_in_their_seed_are_one_setting(cells):
    groups = groups_of([read_run(folder) for folder in cells])
    assert [(group.label, list(group.runs)) for group in groups] == [("rank 4", ["0", "1"]), ("rank 8", ["0", "1"])]
    assert groups[0].values("loss") == {"0": 1.5, "1": 1.625}
    assert main_metric([read_run(folder) for folder in cells], "loss") == "loss"


def test_the_page_has_means_spreads_and_paired_differences(cells):
    text = comparison_of([read_run(folder) for folder in cells], metric="loss")
    assert "<h1>2 settings, 4 runs</h1>" in text
    assert "1.562 ± 0.088" in text  # 1.5, 1.625: standard deviation 0.0884
    assert '<span class="strong">1.250 ± 0.000</span>' in text
    assert "Differences to rank 4, seed by seed" in text
    # differences -0.25, -0.375: mean -0.3125, interval ± 12.706 * 0.0884 / sqrt 2 = 0.794, which has zero in it
    assert interval([-0.25, -0.375]) == pytest.approx((-0.3125, 0.7941), abs=1e-4)
    assert "Clearly different from it: none." in text
    assert "<script" not in text
    assert text == comparison_of([read_run(folder) for folder in cells], metric="loss")
    assert "Not comparable" not in text


def test_metrics_taken_otherwise_are_not_comparable(cell):
    folders = [cell(4, 0, 1.5), cell(8, 0, 1.5, metrics_over="clients")]
    text = comparison_of([read_run(folder) for folder in folders])
    assert "Not comparable" in text
    assert "metrics_over: &#34;clients&#34; or &#34;test set&#34;" in text


def test_a_sweep_is_one_page_with_what_it_lacks(cells, tmp_path, capsys):
    sweep = tmp_path / "sweep"
    (sweep / "cells").mkdir(parents=True)
    for folder in cells:
        folder.rename(sweep / "cells" / folder.name)
    names = [*(folder.name for folder in cells), "r16-s0"]
    (sweep / "sweep.json").write_text(json.dumps({"cells": names, "metric": "bleu", "settings": {}}))
    assert ended([sweep]) == 0
    assert capsys.readouterr().out.strip() == str(sweep / "report.html")
    text = (sweep / "report.html").read_text()
    assert "compared by BLEU" in text
    assert "have not ended: r16-s0" in text


def test_twenty_four_settings_fit_on_one_page(cell):
    folders = [cell(rank, 0, 2.0 - rank / 100) for rank in range(1, 25)]
    for folder in folders:
        pd.DataFrame([{"round": r, "validation_loss": 3.0 / r} for r in range(1, 6)]).to_parquet(folder / "rounds.parquet")
    text = comparison_of([read_run(folder) for folder in folders], metric="loss")
    assert "the first 12 of 24" in text
    assert len(text) < 400_000


def test_what_cannot_be_compared_is_named(cells, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert ended([cells[0], tmp_path / "nowhere"]) == 2
    assert "is not the folder of a run" in capsys.readouterr().err
    assert ended(cells[:2]) == 0
    assert (tmp_path / "comparison.html").is_file()
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / "sweep.json").write_text('{"cells": ["a"]}')
    with pytest.raises(DataError, match="no cell of the sweep"):
        runs_in([sweep])
    (sweep / "sweep.json").write_text("[1]")
    with pytest.raises(DataError, match="names no cells"):
        runs_in([sweep])
    (sweep / "cells").mkdir()
    cells[3].rename(sweep / "cells" / "a")
    (sweep / "sweep.json").write_text('{"cells": ["a"]}')
    with pytest.raises(SettingError, match="two runs or more"):
        runs_in([sweep])


def test_a_run_is_compared_once(cells):
    with pytest.raises(SettingError, match=r"r4-s0/\. is named twice|r4-s0 is named twice"):
        runs_in([cells[0], cells[1], cells[0] / "."])
