"""Every tuning trains a classifier whose head reads the mean over tokens, averaged and split."""

import shutil

import pandas as pd
import pytest
from jobs import tiny_job
from split_shapes import class_rows, save_family

from fedtailor.assembly import assemble
from fedtailor.export import export, open_run
from fedtailor.models import reads_mean
from fedtailor.running import run
from fedtailor.tasks import Classification

TUNINGS = [
    {"kind": "lora", "rank": 2}, {"kind": "lora", "rank": 2, "targets": ["all-linear"]}, {"kind": "full"}, {"kind": "adapter", "width": 4},
    {"kind": "prefix", "length": 3, "hidden": 8}, {"kind": "prompt", "length": 3}, {"kind": "fed-sb", "rank": 2},
]  # fmt: skip
IN_FRONT = ("prefix", "prompt")  # their vectors go through every block, so that they have no side of a cut


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_family("bert", tmp_path_factory.mktemp("families"))


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("tuning", "kind"),
    [
        *((tuning, "averaging") for tuning in TUNINGS),
        *((tuning, "split") for tuning in TUNINGS if tuning["kind"] not in IN_FRONT),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_every_tuning_learns(folder, tmp_path, tuning, kind):
    local = {"learning_rate": 0.02, "batch_size": 4, "epochs": 3}
    protocol = {"kind": kind, "local": local} | ({"cut": 2} if kind == "split" else {})
    job = tiny_job(
        folder,
        task={"kind": "classification", "max_tokens": 48, "pooling": "mean"},
        tuning=tuning,
        protocol=protocol,
        stop__rounds=3,
    )
    result = run(job, data=class_rows(), out=tmp_path / "run")
    losses = pd.read_parquet(result.folder / "rounds.parquet")["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0]
    assert open_run(result.folder).job.task == Classification(labels=job.task.labels, max_tokens=48, pooling="mean")


@pytest.mark.parametrize(("pooling", "told"), [("model", 1), ("mean", 0)])
def test_a_backbone_that_was_trained_for_the_mean_is_named(folder, tmp_path, pooling, told):
    sentences = shutil.copytree(folder, tmp_path / "sentences")
    (sentences / "1_Pooling").mkdir()
    (sentences / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    heard = []
    job = tiny_job(sentences, task={"kind": "classification", "max_tokens": 48, "pooling": pooling})
    assemble(job, given=class_rows(), warn=heard.append)
    assert not any("written with" in text for text in heard)
    assert len([text for text in heard if "task: {kind: classification, pooling: mean}" in text]) == told


def test_a_folder_that_was_written_so_is_read_so(folder, tmp_path):
    task = {"kind": "classification", "max_tokens": 48, "pooling": "mean"}
    first = run(tiny_job(folder, task=task, stop__rounds=1), data=class_rows(), out=tmp_path / "first")
    again = tiny_job(export(first.folder, to="pooled", folder=tmp_path / "whole"), task={**task, "pooling": "model"})
    heard = []
    assert reads_mean(assemble(again, given=class_rows(), warn=heard.append).worker.model.get_base_model())
    assert any("was written with task.pooling: mean" in text for text in heard)
