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


def test_list_and_show_say_what_is_the_papers(fedtailor):
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
    for name in ("fpt-e2e", "framework-comparison"):
        code, printed, said = fedtailor("recipe", "show", name, "tuning.rnak=3")
        assert (code, printed) == (2, "")
        assert "tuning.rnak is not a setting" in said


def test_seeds_and_size_of_a_comparison_are_those_that_it_will_have(fedtailor):
    small = ("recipe", "show", "framework-comparison", "--variant", "small")
    assert "each with seed 0, 1, 42; 15 cells × 3 seeds" in fedtailor(*small)[1]
    other = fedtailor(*small, "seed=5,6")[1]
    assert "each with seed 5, 6" in other
    assert "15 cells" not in other


def test_the_job_of_a_recipe_is_a_job_file(fedtailor, data, tmp_path):
    code, printed, _ = fedtailor("recipe", "show", "fpt-e2e", "--yaml", "--data", data, "tuning.length=5")
    assert code == 0
    (tmp_path / "job.yaml").write_text(printed)
    job = Job.load(tmp_path / "job.yaml")
    assert (job.tuning.length, job.base) == (5, data / "e2e")


def test_run_reports_whose_the_settings_are_and_runs(fedtailor, data, tmp_path, tiny_backbone_folder):
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


def test_a_comparison_is_one_command_that_continues(fedtailor, tmp_path, tiny_bert_folder):
    folder = tmp_path / "data" / "banking77"
    folder.mkdir(parents=True)
    (folder / "labels.json").write_text(json.dumps(["card", "rate"]))
    for part, count in (("train", 72), ("test", 8)):
        rows = [{"text": f"{('my card is', 'the rate is')[i % 2]} {part} {i}", "label": i % 2} for i in range(count)]
        pd.DataFrame(rows).to_parquet(folder / f"{part}.parquet")
    changes = [f"backbone={tiny_bert_folder}", "stop.rounds=2", "threads=1", "data.limit={train: 24}", "precision=float32"]
    words = ("recipe", "run", "framework-comparison", "--data", folder.parent, *changes, "--out", tmp_path / "r")
    cells = ["FedLLMs_*=0", "*limit=250_seed=0", "Split-FedLLMs_protocol.cut=[12]_seed=0", "central*=0", "local*=0"]
    code, printed, said = fedtailor(*words, *(word for cell in cells for word in ("--only", cell)))
    assert code == 0
    assert "cell 8 of 8  local-only_tuning.rank=8_seed=0" in said
    assert "KD-FedLLMs: protocol.wire" in printed
    drawn = {"accuracy-bytes.png", "accuracy-bytes.svg", "sweep.json", "cells", "table.parquet", "table.csv", "means.csv"}
    assert {path.name for path in (tmp_path / "r").iterdir()} == drawn
    assert "sends more" not in printed  # one size tells no line
    code, printed, said = fedtailor(*words, "--only", "KD*limit=1000_seed=0", "--only", "FedLLMs*rank=4_seed=1", "--json")
    assert code == 0
    told = json.loads(printed)
    means = {
        (row["arm"], row["tuning.rank"], row.get("protocol.cut"), row.get("protocol.public_limit")): row for row in told["means"]
    }
    assert len(told["cells"]) == 10
    assert means["FedLLMs", 4, None, None]["n"] == 2
    assert means["FedLLMs", 8, None, None]["learning_up_bytes"] > means["FedLLMs", 4, None, None]["learning_up_bytes"]
    split = [means["Split-FedLLMs", 8, cut, None] for cut in (1, 2)]
    assert split[0]["flops"] < split[1]["flops"]
    assert split[0]["client_memory_bytes"] < split[1]["client_memory_bytes"]
    assert {row["public_examples"] for row in told["means"] if row["arm"] == "KD-FedLLMs"} == {48}
    assert "crossings" not in told  # both limits are beyond the 48 rows that are left
    assert fedtailor(*words, "--only", "FedLLM_*")[0] == 2
    assert fedtailor("recipe", "run", "fpt-e2e", "--data", folder.parent, "--only", "x")[0] == 2
