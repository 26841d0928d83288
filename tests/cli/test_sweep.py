import json


def test_a_sweep_from_the_command_line(fedtailor, write_job, tmp_path):
    job, out = write_job(evaluation={"metrics": ["loss"]}, stop={"rounds": 1}), tmp_path / "s"
    grid = ("sweep", job, "tuning.rank=1,2", "seed=0,1", "--out", out)
    code, printed, said = fedtailor(*grid)
    assert code == 0
    assert "cell 4 of 4  tuning.rank=2_seed=1" in said
    assert "±" in printed
    assert {p.name for p in out.iterdir()} == {
        "sweep.json", "cells", "table.parquet", "table.csv", "means.csv", "sweep.png", "sweep.svg",
    }  # fmt: skip
    code, printed, said = fedtailor(*grid, "--json")
    assert (code, said) == (0, "")
    told = json.loads(printed)
    assert [(row["tuning.rank"], row["n"]) for row in told["means"]] == [(1, 2), (2, 2)]
    assert len(told["cells"]) == 4


def test_a_failed_cell_is_named_and_the_exit_code_is_1(fedtailor, write_job, tmp_path):
    job = write_job(evaluation={"metrics": ["loss"]}, stop={"rounds": 1})
    code, printed, _ = fedtailor("sweep", job, "clients.min_examples=4,4000", "--out", tmp_path / "s", "--no-plot")
    assert code == 1
    assert "1 cell of 2 failed" in printed
    assert "clients.min_examples=4000" in printed


def test_what_is_wrong_is_reported_before_any_work(fedtailor, write_job, tmp_path):
    job = write_job()
    for words, said in (
        (["tuning.rank=0,1"], "the cell tuning.rank=0"),
        (["seed=0,1", "--metric", "lss"], "did you mean loss?"),
        (["seed=0,0"], "twice"),
    ):
        code, _, complaint = fedtailor("sweep", job, *words, "--out", tmp_path / "s")
        assert code == 2
        assert said in complaint
    assert not (tmp_path / "s").exists()


def test_only_seeds_make_a_table_without_a_plot(fedtailor, write_job, tmp_path):
    job = write_job(evaluation={"metrics": ["loss"]}, stop={"rounds": 1})
    code, printed, said = fedtailor("sweep", job, "seed=0,1", "--baseline", "central", "--out", tmp_path / "s")
    assert code == 0
    assert "central" in printed
    assert "only the seed was swept" in said
