"""Pictures that a run makes: measured, kept as a sheet, and the same whatever the batch; what is a client's stays there."""

import json
from dataclasses import dataclass

import pandas as pd
import pytest
import torch
from denoisers import LABELS, SIZE, picture_job, picture_rows, unet_folder  # noqa: F401  fixtures
from PIL import Image

from fedtailor.report import read_run
from fedtailor.report.run.pictures import own_sheets, pictures, sheets
from fedtailor.running import run
from fedtailor.tasks.images import compare

ROWS = picture_rows(40)
ASKED = ["loss", "fd", "kid", "precision", "recall", "coverage", "class_entropy", "label_accuracy", "closer_to_training"]


@dataclass(frozen=True)
class Colours:
    """The mean and spread of each channel; the class is the strongest channel."""

    classes = LABELS

    def of(self, pixels_NCHW):
        pixels = pixels_NCHW.float().flatten(2) / 255
        return torch.cat([pixels.mean(2), pixels.std(2)], 1).numpy()

    def classify(self, features_ND):
        return features_ND[:, :3].argmax(1)


@pytest.fixture
def job(unet_folder):  # noqa: F811
    def made(**changes):
        changes = {"evaluation__features": Colours(), "evaluation__metrics": ASKED, "stop__rounds": 1} | changes
        return picture_job(unet_folder, evaluation__samples={"count": 24, "steps": 2, "grid": [2, 3]}, **changes)

    return made


def figures(found):
    return {moment: found.summary["metrics"][moment] for moment in ("before", "after")}


def test_what_is_measured_of_the_pictures(job, tmp_path):
    found = run(job(), data={"train": ROWS, "test": picture_rows(8)[:20]}, out=tmp_path / "run")
    for moment, of in figures(found).items():
        assert (of["samples"], of["samples_real"]) == (24, 10)
        assert of["fd"] > of["fd_real"] > 0
        assert 0 <= of["recall"] <= 1
        assert of["recall_real"] > 0.3
        assert of["label_accuracy_real"] == 1
        assert of["class_entropy_real"] == pytest.approx(1, abs=0.05)
        assert "closer_to_training" not in of  # the server has no training pictures
        histogram = json.loads((tmp_path / f"run/samples/{moment}.json").read_text())["classes"]
        assert sum(histogram["made"].values()) == 24
        assert sum(histogram["real"].values()) == 20
        sheet = Image.open(tmp_path / f"run/samples/{moment}.png")
        assert sheet.size[0] > sheet.size[1]  # 3 columns, 2 rows


def test_the_batch_has_no_influence(job, tmp_path):
    found = []
    for batch in (1, 7, 125):
        settings = {"count": 24, "steps": 2, "grid": [2, 3], "batch": batch}
        made = run(
            job().replace("evaluation.samples", settings),
            data={"train": ROWS, "test": picture_rows(8)[:20]},
            out=tmp_path / str(batch),
        )
        found.append(made.summary["metrics"]["after"])
    for other in found[1:]:
        assert other == pytest.approx(found[0], abs=1e-4)


def test_what_is_a_clients_stays_there(job, tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "LEAST_OWN", 4)
    monkeypatch.setattr(compare, "LEAST_APART", 4)
    found = run(job(personalization={"kind": "finetune"}), data=ROWS, out=tmp_path / "run")
    table = pd.read_parquet(tmp_path / "run/evaluations.parquet")
    of_clients = {scope: set(rows["metric"]) for scope, rows in table.groupby("scope")}
    reported = {"loss", "examples", "samples", "kid", "closer_to_training", "nearest_training", "nearest_held_out"}
    assert of_clients["client"] == of_clients["personal"] == reported
    assert "fd" not in found.summary["metrics"]["after"]  # it is no mean: none is made up of those of clients
    assert 0 <= found.summary["clients"]["mean"]["closer_to_training"] <= 1
    left = (tmp_path / "run/manifest.json").read_text()
    assert "test.kid" in left
    assert "test.recall" not in left
    shown = read_run(tmp_path / "run")
    assert set(sheets(shown)) == {"before", "after"}
    assert {path.parent.name for path in own_sheets(shown)} == set(found.summary["personal"]["clients"])
    assert not list((tmp_path / "run/samples").glob("*personal*"))
    assert [str(cell) for cell in pictures(shown).columns[0].cells] == ["kernel distance", "closer to training"]


def test_a_client_with_few_pictures_makes_none(job, tmp_path):
    settings = {"count": 24, "steps": 1, "grid": None}
    found = run(job().replace("evaluation.samples", settings), data=ROWS, out=tmp_path / "run")
    table = pd.read_parquet(tmp_path / "run/evaluations.parquet")
    assert (table[table["metric"] == "samples"]["value"] == 0).all()
    assert "kid" not in found.summary["metrics"]["after"]
    assert not (tmp_path / "run/samples").exists()
