"""A grid of runs, interrupted and resumed."""

import json
import math
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from distilling import class_job
from jobs import tiny_rows

from fedtailor.errors import DataError, ResumeError
from fedtailor.metrics.course import Target
from fedtailor.studies.grid import make_grid, read_axis
from fedtailor.studies.sweep import read_sweep, run_sweep
from fedtailor.studies.sweep_figures import possible_figures, spread


@pytest.fixture
def job(tmp_path, make_job):
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny_rows()))
    file = tmp_path / "job.yaml"
    made = make_job(data__train="train.jsonl", evaluation__metrics=["loss"], stop__rounds=2)
    file.write_text(made.replace("base", str(tmp_path)).to_yaml())
    return file


def sweep(job, folder, *settings, baselines=(), watching=None, target=None):
    axes, cells = make_grid(job, settings, baselines)
    return run_sweep(axes, cells, folder, watching=watching, target=target)


def watching_for(kind, act):
    @contextmanager
    def watching(cell, place, of):
        yield lambda event, facts: act(cell, facts) if event == kind else None

    return watching


def test_a_grid_that_was_interrupted_continues_where_it_was_and_skips_what_is_done(job, tmp_path):
    def cut(cell, facts):
        if cell.settings == {"tuning.rank": 2, "seed": 1} and facts["round"] == 2:
            raise KeyboardInterrupt

    grid = ("tuning.rank=1,2", "seed=0,1")
    with pytest.raises(KeyboardInterrupt):
        sweep(job, tmp_path / "s", *grid, watching=watching_for("round", cut))
    cells = tmp_path / "s" / "cells"
    assert not (cells / "tuning.rank=2_seed=1" / "summary.json").exists()
    started, resumed = [], []

    @contextmanager
    def watching(cell, place, of):
        def watch(event, facts):
            if event in ("start", "resume"):
                (started if event == "start" else resumed).append((cell.name, facts["from_round"]))

        yield watch

    swept = sweep(job, tmp_path / "s", *grid, watching=watching)
    assert started == []
    assert resumed == [("tuning.rank=2_seed=1", 1)]
    unbroken = sweep(job, tmp_path / "u", *grid)
    same = ["tuning.rank", "seed", "status", "loss", "loss_client_worst", "rounds"]
    pd.testing.assert_frame_equal(swept.table[same], unbroken.table[same])
    assert swept.failed == 0
    assert list(swept.table["tuning.rank"]) == [1, 1, 2, 2]
    assert list(pd.read_csv(tmp_path / "s" / "table.csv")["cell"]) == list(
        pd.read_parquet(tmp_path / "s" / "table.parquet")["cell"]
    )
    told = json.loads((cells / "tuning.rank=1_seed=1" / "summary.json").read_text())
    assert swept.table.loc[1, "loss"] == told["metrics"]["after"]["loss"]
    assert swept.table.loc[1, "loss_client_worst"] == told["clients"]["worst"]["loss"]


def test_a_cell_with_other_settings_is_refused_before_any_work(job, tmp_path):
    sweep(job, tmp_path / "s", "seed=0")
    job.write_text(job.read_text().replace("rank: 2", "rank: 1"))
    with pytest.raises(ResumeError, match=r"the cell seed=0 .* tuning.rank differ"):
        sweep(job, tmp_path / "s", "seed=0,1")
    assert not (tmp_path / "s" / "cells" / "seed=1").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("x")
    with pytest.raises(ResumeError, match="no sweep"):
        sweep(job, tmp_path / "mine", "seed=0")


def test_failed_cells_are_named_and_do_not_hold_the_others_up(job, tmp_path):
    swept = sweep(job, tmp_path / "s", "clients.count=4,400", "stop.rounds=1")
    assert list(swept.table["status"]) == ["done", "failed"]
    assert swept.failed == 1
    assert "400" in swept.table.loc[1, "error"]
    assert (tmp_path / "s" / "errors" / "clients.count=400.txt").exists()
    means = spread(swept.table, swept.axes)
    assert list(means["n"]) == [1, 0]
    assert list(means["of"]) == [1, 1]


def test_baselines_stand_beside_each_cell_and_start_again_when_interrupted(job, tmp_path):
    left = tmp_path / "s" / "cells" / "seed=0_central"
    left.mkdir(parents=True)
    (left / "left.txt").write_text("x")
    (tmp_path / "s" / "sweep.json").write_text("{}")
    swept = sweep(job, tmp_path / "s", "seed=0", baselines=["central", "local"])
    assert list(swept.table["run"]) == ["federated", "central", "local"]
    assert swept.failed == 0
    assert not (left / "left.txt").exists()


def test_figures_that_are_promised_are_there(job, tmp_path):
    swept = sweep(job, tmp_path / "s", "seed=0", "stop.rounds=1")
    promised = possible_figures([make_grid(job, ["seed=0"])[1][0].job])
    assert not [name for name in promised if "personal" in name]
    assert {"loss", "loss_client_worst", "loss_before", "up_bytes", "seconds", "rounds"} <= set(promised) & set(
        swept.table.columns
    )


def test_personal_figures_are_columns_where_a_cell_has_them(job, tmp_path):
    grid = ["personalization={kind: none},{kind: finetune, steps: 1}", "stop.rounds=1"]
    table = sweep(job, tmp_path / "s", *grid).table
    promised = possible_figures(cell.job for cell in make_grid(job, grid)[1])
    assert {"loss_personal", "loss_personal_worst", "loss_personal_p10", "loss_base"} <= set(promised) & set(table.columns)
    plain, own = table.to_dict("records")
    told = json.loads((Path(own["folder"]) / "summary.json").read_text())["personal"]
    assert math.isnan(plain["loss_personal"])
    assert own["loss_personal"] == told["personal"]["mean"]["loss"]
    assert own["loss_personal_worst"] == told["personal"]["worst"]["loss"]
    assert own["loss_base"] == told["base"]["mean"]["loss"]


def test_baselines_of_a_job_with_personalization_are_not_run_again(job, tmp_path):
    settings = ["seed=0", "stop.rounds=1", "personalization={kind: finetune, keep: last}"]
    first = sweep(job, tmp_path / "s", *settings, baselines=["local"])
    again = sweep(job, tmp_path / "s", *settings, baselines=["local"])
    pd.testing.assert_frame_equal(first.table, again.table)
    assert again.failed == 0


def test_mean_and_standard_deviation_are_over_seeds_that_are_done():
    table = pd.DataFrame(
        {
            "cell": list("abcde"), "run": "federated", "tuning.rank": [2, 2, 2, 4, 4], "seed": [0, 1, 2, 0, 1],
            "status": ["done", "done", "failed", "done", "done"], "loss": [1.0, 3.0, math.nan, 5.0, 5.0],
        }
    )  # fmt: skip
    means = spread(table, [read_axis("tuning.rank=2,4"), read_axis("seed=0,1,2")])
    # (1, 3): mean 2, deviation sqrt((1 + 1) / 1) = sqrt 2
    assert means.to_dict("records") == [
        {"run": "federated", "tuning.rank": 2, "n": 2, "of": 3, "loss": 2.0, "loss_sd": pytest.approx(math.sqrt(2))},
        {"run": "federated", "tuning.rank": 4, "n": 2, "of": 2, "loss": 5.0, "loss_sd": 0.0},
    ]


def test_a_job_that_distils_promises_its_own_figures():
    promised = possible_figures([class_job("none")])
    assert {"loss_aligned", "accuracy_aligned_public", "public_fit", "labels_unlike"} <= set(promised)
    assert not [name for name in promised if "personal" in name]
    assert len(set(promised)) == len(promised)


def test_a_cell_that_is_done_is_known_under_another_name(job, tmp_path):
    """With one more value other settings differ between the sections, so cells are called otherwise."""
    first = "protocol.local={steps: 1},{steps: 2}"
    names = [cell.name for cell in make_grid(job, [first])[1]]
    sweep(job, tmp_path / "s", first)
    begun = []
    more = "protocol.local={steps: 1},{steps: 2},{steps: 2, learning_rate: 0.01}"
    swept = sweep(job, tmp_path / "s", more, watching=watching_for("start", lambda cell, facts: begun.append(cell.name)))
    assert swept.failed == 0
    assert len(begun) == 1
    assert not any((tmp_path / "s" / "cells" / name).exists() for name in names)
    assert list(swept.table["protocol.local"])[2] == "steps=2, learning_rate=0.01"
    assert swept.table["rises"].notna().all()
    start = json.loads((tmp_path / "s" / "cells" / swept.table["cell"][0] / "summary.json").read_text())["metrics"]["before"][
        "loss"
    ]
    aimed = sweep(
        job, tmp_path / "s", more, target=Target(metric="loss", value=start - 1e-6)
    ).table  # what is done is not run again
    assert set(aimed["target_rounds"]) <= {1.0, 2.0}
    assert (aimed["target_bytes"] > 0).all()
    again, metric = read_sweep(tmp_path / "s")
    pd.testing.assert_frame_equal(again.table, aimed)
    assert metric == "loss"
    (tmp_path / "s" / "table.parquet").unlink()
    with pytest.raises(DataError, match="no cell of the sweep"):
        read_sweep(tmp_path / "s")
