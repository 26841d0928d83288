import json

import pandas as pd
import pytest

from fedtailor.job import Job


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data" / "e2e"
    folder.mkdir(parents=True)
    for part, count in (("train", 60), ("validation", 4), ("test", 4)):
        rows = [{"input": f"name[{part} {i}]", "target": f"{part} {i} is a pub."} for i in range(count)]
        pd.DataFrame(rows).to_parquet(folder / f"{part}.parquet")
    return folder.parent


def test_list_and_show_tell_what_is_the_papers(fedtailor):
    printed = fedtailor("recipe", "list")[1]
    assert "fpt-e2e" in printed
    assert "not run here" in printed
    shown = " ".join(fedtailor("recipe", "show", "fpt-e2e")[1].split())
    for words in (
        "68.91",
        "[S]",
        "the paper's",
        "assumed",
        "not run here",
        "fedtailor's defaults",
        "fedtailor sweep fpt-e2e.yaml",
    ):
        assert words in shown
    assert "smollm2-135m" in fedtailor("recipe", "show", "fpt-e2e", "--variant", "small")[1]
    assert fedtailor("recipe", "show", "fpt")[0] == 2


def test_the_job_of_a_recipe_is_a_job_file(fedtailor, data, tmp_path):
    code, printed, _ = fedtailor("recipe", "show", "fpt-e2e", "--yaml", "--data", data, "tuning.length=5")
    assert code == 0
    (tmp_path / "job.yaml").write_text(printed)
    job = Job.load(tmp_path / "job.yaml")
    assert (job.tuning.length, job.base) == (5, data / "e2e")


def test_run_tells_whose_the_settings_are_and_runs(fedtailor, data, tmp_path, tiny_backbone_folder):
    changes = [f"backbone={tiny_backbone_folder}", "stop.rounds=1", "clients.count=2", "evaluation.metrics=[loss]", "threads=1"]
    words = ("recipe", "run", "fpt-e2e", "--data", data, *changes)
    code, printed, _ = fedtailor(*words, "--out", tmp_path / "a")
    assert code == 0
    assert "yours" in printed
    assert "before → after" in printed
    code, printed, said = fedtailor(*words, "--out", tmp_path / "b", "--json")
    assert (code, said) == (0, "")
    assert json.loads(printed)["rounds"] == 1
    assert fedtailor("recipe", "run", "fpt-e2e", "--data", tmp_path / "no")[0] == 2
